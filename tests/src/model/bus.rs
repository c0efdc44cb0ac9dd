//! What the processes and the NIC do with registered memory.

use super::{
    operation::{Pick, Splash},
    oracle::registration::{Piece, Registration},
    world::{Agreement, World},
};

impl Splash {
    /// The bytes to write to what is so long, and where.
    pub fn bytes(&self, available: usize) -> (usize, Vec<u8>) {
        let start = usize::from(self.offset) % available.max(1);
        let end = available.min(start + usize::from(self.length));
        let mut value = self.seed;
        let next = |_| {
            value = value.wrapping_mul(5).wrapping_add(17);
            value
        };
        (start, (start..end).map(next).collect())
    }
}

impl World {
    /// The owner writes through its mapping.
    pub fn write_by_process(&mut self, splash: Splash) -> Agreement {
        let Some(own) = self.any_registration(splash.registration) else {
            return Ok(());
        };
        let owner = self.oracle.files.get(&own.file).and_then(|file| file.owner);
        let process = self
            .processes
            .iter()
            .find(|running| Some(running.number) == owner && own.mapped && !own.is_own());
        let Some(process) = process.map(|running| running.process.clone()) else {
            return Ok(());
        };
        self.tell(format!("process {owner:?} writes {splash:?}"));
        self.splash(splash, |piece, offset, bytes| {
            process
                .write(piece.user + offset, bytes)
                .map_err(|status| format!("cannot write its mapping: {status:?}"))
        })
    }

    /// The NIC writes: what it only reads it cannot.
    pub fn write_by_device(&mut self, splash: Splash) -> Agreement {
        let Some(own) = self.any_registration(splash.registration) else {
            return Ok(());
        };
        let nic = self.nic.clone();
        if !own.is_writable() {
            let piece = own.pieces.first().map_or(0, |piece| piece.device);
            self.tell("the NIC writes what it may only read");
            let written = nic.write(piece, &[splash.seed]).is_ok();
            nic.domain().take_faults();
            return if written {
                Err(format!("the NIC writes {piece:#x}, which it may only read"))
            } else {
                Ok(())
            };
        }
        self.tell(format!("the NIC writes {splash:?}"));
        self.splash(splash, |piece, offset, bytes| {
            nic.write(piece.device + offset, bytes)
                .map_err(|fault| format!("the NIC cannot write: {fault:?}"))
        })
    }

    /// Writes bytes to the memory and to the model.
    fn splash(
        &mut self,
        splash: Splash,
        write: impl Fn(&Piece, u64, &[u8]) -> Agreement,
    ) -> Agreement {
        let count = self.oracle.registrations.len().max(1);
        let picked = usize::from(splash.registration) % count;
        let Some(own) = self.oracle.registrations.get_mut(picked) else {
            return Ok(());
        };
        let (start, bytes) = splash.bytes(usize::try_from(own.length()).unwrap_or(0));
        own.store(start, &bytes);
        let end = start + bytes.len();
        let mut begin = 0;
        for piece in &own.pieces {
            let length = usize::try_from(piece.length).unwrap_or(0);
            let (from, to) = (start.max(begin), end.min(begin + length));
            if from < to {
                write(
                    piece,
                    (from - begin) as u64,
                    &bytes[from - start..to - start],
                )?;
            }
            begin += length;
        }
        Ok(())
    }

    /// Whether an address belongs to a registration that lives, with the rest of the pages that it lies in.
    pub fn is_live(&self, first: u64, last: u64) -> bool {
        let pieces = |own: &Registration| {
            own.pieces.iter().any(|piece| {
                let end = (piece.device + piece.length).next_multiple_of(4096);
                piece.device / 4096 * 4096 <= last && first < end
            })
        };
        self.oracle.registrations.iter().any(pieces)
    }

    /// The NIC writes to what was released: that fails, or, in the reserve, nobody ever sees it.
    pub fn write_late(&mut self, splash: Splash) -> Agreement {
        let count = self.oracle.former.len().max(1);
        let place = usize::from(splash.registration) % count;
        let Some(former) = self.oracle.former.get(place) else {
            return Ok(());
        };
        let Some(piece) = former.pieces.first().copied() else {
            return Ok(());
        };
        let reserved = former.reserved;
        if self.is_live(piece.device, piece.device + piece.length - 1) {
            return Ok(());
        }
        let (start, bytes) = splash.bytes(usize::try_from(piece.length).unwrap_or(0));
        self.tell(format!("the NIC writes to {piece:x?}, which is released"));
        let written = self.nic.write(piece.device + start as u64, &bytes).is_ok();
        self.nic.domain().take_faults();
        if written && !reserved {
            return Err(format!("the NIC writes to {piece:x?}, which is released"));
        }
        let range = piece.device..piece.device + piece.length;
        for former in &mut self.oracle.former {
            let mut pieces = former.pieces.iter();
            former.scribbled |=
                pieces.any(|it| it.device < range.end && range.start < it.device + it.length);
        }
        Ok(())
    }

    /// The NIC reads the byte after a piece and the byte before it: they are nobody's.
    pub fn read_beside(&mut self, pick: Pick) -> Agreement {
        // What a block holds beyond its piece is charged to its owner, and within reach too.
        let mut all = self.oracle.registrations.iter();
        if all.any(|own| own.reserved || own.padding > 0 && !own.is_own()) {
            return Ok(());
        }
        let Some(own) = self.any_registration(pick) else {
            return Ok(());
        };
        let Some(piece) = own.pieces.get(usize::from(pick) % own.pieces.len().max(1)) else {
            return Ok(());
        };
        let first = piece.device / 4096 * 4096;
        let end = (piece.device + piece.length).next_multiple_of(4096);
        let reserved = |address: u64| {
            let mut all = self.oracle.former.iter().filter(|former| former.reserved);
            all.any(|former| {
                let mut pieces = former.pieces.iter();
                pieces.any(|piece| address >= piece.device && address - piece.device < piece.length)
            })
        };
        for address in [first.wrapping_sub(1), end] {
            if self.is_live(address, address) || reserved(address) {
                continue;
            }
            let reached = self.nic.read(address, &mut [0]).is_ok();
            self.nic.domain().take_faults();
            if reached {
                return Err(format!("the NIC reads {address:#x}, beside {piece:x?}"));
            }
        }
        self.tell("the NIC reads beside a piece");
        Ok(())
    }
}
