-- Posts a VKYC payload, each with an id of its own, and reports in JSON.
-- Arguments after `--`: a prefix for the ids that no other run uses.

local threads = 0

function setup(thread)
  threads = threads + 1
  thread:set("number", threads)
end

function init(arguments)
  prefix = "trn:vkyc:" .. arguments[1] .. "-" .. number .. "-"
  sent = 0
  headers = {
    ["content-type"] = "application/json",
    ["x-webhook-secret"] = os.getenv("BENCH_SECRET"),
  }
end

function request()
  sent = sent + 1
  return wrk.format("POST", nil, headers,
    '{"appId":"app_demo","transactionId":"txn-0001","eventDetails":{"status":"DECLINED",' ..
    '"reason":"Face mismatch","agentId":"agent@example.com"},"eventVersion":"1.0.0",' ..
    '"eventType":"VCIP_CALL_COMPLETED","eventTime":"2026-01-02T03:04:05.678Z","eventId":"' ..
    prefix .. sent .. '"}')
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '\n{"answers":%d,"seconds":%.6f,"p50_us":%.1f,"p99_us":%.1f,"refused":%d,"broken":%d}\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50), latency:percentile(99),
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
