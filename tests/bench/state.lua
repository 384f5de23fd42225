-- Posts what changes adapters' state, and reports in JSON.
-- Arguments after `--`: what to post, and a word for its ids that no other run uses.
--   tally WORD          the test guest counts, each request under a name of its own
--   plain WORD          the test guest makes the same event without state
--   report WORD PREFIX  payouts of the calls PREFIX0 to PREFIX1023 in turn, another amount each round

local threads = 0
local CALLS = 1024

function setup(thread)
  threads = threads + 1
  thread:set("number", threads)
end

function init(arguments)
  kind, word, prefix = arguments[1], arguments[2], arguments[3]
  sent = 0
  headers = {
    ["content-type"] = "application/json",
    ["x-webhook-secret"] = os.getenv("BENCH_SECRET"),
  }
end

function request()
  local body
  if kind == "report" then
    local round = math.floor(sent / CALLS)
    -- Further apart than two runs have rounds: a payout that was reported lately is a duplicate.
    body = string.format('{"ref_id":"%s%d","payout":"%d.%02d"}', prefix, sent % CALLS,
      word + math.floor(round / 100), round % 100)
  else
    body = kind .. " " .. word .. "-" .. number .. "-" .. sent
  end
  sent = sent + 1
  return wrk.format("POST", nil, headers, body)
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '\n{"answers":%d,"seconds":%.6f,"p50_us":%.1f,"p99_us":%.1f,"refused":%d,"broken":%d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50), latency:percentile(99),
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
