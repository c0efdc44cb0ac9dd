//! Events of a file, and messages between two.

use sanproxy_provider::{EndpointId, LONGEST_MESSAGE, Provider};

use super::Session;
use super::commands::Talk;
use super::said::{Endpoint, Happened, Received, Said};
use super::waiting::within;
use crate::failure::Failure;
use crate::screen::Screen;
use crate::system::System;

impl<S: System> Session<'_, S> {
    /// Commands about events and messages.
    pub(super) fn talk(&mut self, screen: &mut Screen<'_>, command: Talk) -> Result<(), Failure> {
        let (system, provider) = (self.system, &self.file()?.provider);
        match command {
            Talk::Events(limit) => {
                let events = within(system, provider, limit.limit, Provider::wait_event)?;
                screen.sample(&Happened::new(events.as_ref()))
            }
            Talk::Endpoint => screen.sample(&Endpoint::from(provider.endpoint()?)),
            Talk::Connect { endpoint } => {
                screen.sample(&Endpoint::from(provider.connect(EndpointId(endpoint))?))
            }
            Talk::Disconnect => {
                provider.disconnect()?;
                screen.sample(&Said::Disconnected { disconnected: true })
            }
            Talk::Send { text, limit } => {
                let sent = within(system, provider, limit.limit, |provider| {
                    provider.send(text.as_bytes())
                })?;
                sent.ok_or_else(|| nobody("took the message"))?;
                screen.sample(&Said::Sent { sent: text.len() })
            }
            Talk::Receive(limit) => {
                let bytes = within(system, provider, limit.limit, |provider| {
                    let mut room = vec![0; LONGEST_MESSAGE];
                    let length = provider.receive(&mut room)?;
                    room.truncate(length);
                    Ok(room)
                })?;
                let bytes = bytes.ok_or_else(|| nobody("sent a message"))?;
                screen.sample(&Received::new(&bytes))
            }
            Talk::Exchange {
                text,
                no_wait,
                limit,
            } => {
                let bytes = within(system, provider, limit.limit, |provider| {
                    let mut room = vec![0; LONGEST_MESSAGE];
                    let length = if no_wait {
                        provider.try_exchange(text.as_bytes(), &mut room)?
                    } else {
                        provider.exchange(text.as_bytes(), &mut room)?
                    };
                    room.truncate(length);
                    Ok(room)
                })?;
                let bytes = bytes.ok_or_else(|| nobody("answered"))?;
                screen.sample(&Received::new(&bytes))
            }
        }
    }
}

fn nobody(what: &str) -> Failure {
    Failure::new(crate::Exit::Failed, format!("in that time nobody {what}"))
        .cure("wait longer (--for 1m), or look at the other side: endpoint shows the connection")
}
