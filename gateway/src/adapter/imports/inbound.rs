//! `inbound`: the request, already masked, read on demand.

use std::sync::Arc;

use ring::digest::{SHA256, digest};

use crate::adapter::host::{Breach, Host};
use crate::adapter::v1::sluice::adapter::inbound;
use crate::model::InboundRequest;

impl Host {
    fn inbound(&mut self, import: &str) -> wasmtime::Result<&InboundRequest> {
        self.receiving(import).map(|call| &*call.inbound)
    }
}

impl inbound::Host for Host {
    fn method(&mut self) -> wasmtime::Result<String> {
        Ok(self.inbound("inbound.method")?.head.method.to_string())
    }

    fn path(&mut self) -> wasmtime::Result<String> {
        Ok(self.inbound("inbound.path")?.head.path.clone())
    }

    fn query(&mut self) -> wasmtime::Result<Option<String>> {
        Ok(self.inbound("inbound.query")?.head.query.clone())
    }

    fn header(&mut self, name: String) -> wasmtime::Result<Vec<String>> {
        let headers = &self.inbound("inbound.header")?.head.headers;
        Ok(headers
            .iter()
            .filter(|(each, _)| each.eq_ignore_ascii_case(&name))
            .map(|(_, value)| value.to_string())
            .collect())
    }

    fn header_names(&mut self) -> wasmtime::Result<Vec<String>> {
        let headers = &self.inbound("inbound.header-names")?.head.headers;
        let mut names: Vec<String> = Vec::with_capacity(headers.len());
        for (name, _) in headers {
            if !names.iter().any(|known| known == name) {
                names.push(name.to_string());
            }
        }
        Ok(names)
    }

    fn body(&mut self) -> wasmtime::Result<Vec<u8>> {
        Ok(self.inbound("inbound.body")?.body.to_vec())
    }

    fn body_sha256(&mut self) -> wasmtime::Result<Vec<u8>> {
        let call = self.receiving("inbound.body-sha256")?;
        if let Some(recorded) = &call.recorded {
            return Ok(recorded.body_sha256.to_vec());
        }
        let inbound = Arc::clone(&call.inbound);
        let received = self.received_body(&inbound);
        self.spend_hashed_bytes(received.len())?;
        Ok(digest(&SHA256, &received).as_ref().to_vec())
    }

    fn redact(
        &mut self,
        part: String,
        mask: String,
        spans: Vec<(u32, u32)>,
    ) -> wasmtime::Result<()> {
        let import = "inbound.redact";
        let inbound = Arc::clone(&self.receiving(import)?.inbound);
        let asked = self.redactions.ask(&inbound, &part, &mask, &spans);
        asked.map_err(|why| Breach::error(format!("{import}: {why}")))
    }

    fn client_address(&mut self) -> wasmtime::Result<String> {
        Ok(self.inbound("inbound.client-address")?.client.to_string())
    }
}
