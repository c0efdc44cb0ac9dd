//! Epilogs, recognised by their instructions: unwind information does not describe them.
//!
//! An epilog is an optional `add rsp` or `lea rsp, [frame pointer]`, then pops, then a return or a
//! jump out of the function; the convention allows nothing else there.

/// What the rest of an epilog does to the stack before it returns.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Epilog {
    /// Set the stack pointer to the frame pointer plus this.
    pub(crate) from_frame_pointer: Option<i64>,
    /// Add this to the stack pointer.
    pub(crate) add: i64,
    /// Then pop these registers.
    pub(crate) pops: Vec<usize>,
}

/// The epilog whose rest `code` (up to the function's end) starts with, if it is one.
pub(crate) fn parse(code: &[u8], frame_register: usize) -> Option<Epilog> {
    let mut epilog = Epilog {
        from_frame_pointer: None,
        add: 0,
        pops: Vec::new(),
    };
    let mut rest = match *code {
        [0x48, 0x83, 0xc4, amount, ..] => {
            epilog.add = i64::from(amount.cast_signed());
            code.get(4..)?
        }
        [0x48, 0x81, 0xc4, a, b, c, d, ..] => {
            epilog.add = i64::from(i32::from_le_bytes([a, b, c, d]));
            code.get(7..)?
        }
        [rex @ (0x48 | 0x49), 0x8d, modrm, ..] if frame_register != 0 => {
            let register = usize::from(modrm & 7) + usize::from(rex & 1) * 8;
            if register != frame_register || modrm >> 3 & 7 != 4 || modrm & 7 == 4 {
                return None;
            }
            let (displacement, length) = displacement(code, modrm)?;
            epilog.from_frame_pointer = Some(displacement);
            code.get(length..)?
        }
        _ => code,
    };
    loop {
        rest = match *rest {
            [0x41, pop @ 0x58..=0x5f, ..] => {
                epilog.pops.push(usize::from(pop - 0x58) + 8);
                rest.get(2..)?
            }
            [pop @ 0x58..=0x5f, ..] => {
                epilog.pops.push(usize::from(pop - 0x58));
                rest.get(1..)?
            }
            _ => break,
        };
    }
    // A jump alone is more often one within the function.
    let began = rest.len() < code.len();
    match *rest {
        [0xc3, ..] | [0xc2, _, _, ..] | [0xf3, 0xc3, ..] => Some(epilog),
        [0xe9 | 0xeb, ..] | [0xff, 0x25, ..] | [0x48, 0xff, 0x25 | 0xe0..=0xe7, ..] if began => {
            Some(epilog)
        }
        _ => None,
    }
}

/// Displacement of a `lea`, and the instruction's length.
fn displacement(code: &[u8], modrm: u8) -> Option<(i64, usize)> {
    match modrm >> 6 {
        0 if modrm & 7 != 5 => Some((0, 3)),
        1 => Some((i64::from(code.get(3)?.cast_signed()), 4)),
        2 => Some((
            i64::from(i32::from_le_bytes(*code.get(3..)?.first_chunk()?)),
            7,
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn add_pops_and_return_are_an_epilog() {
        // add rsp, 40; pop rbx; pop r12; ret
        let epilog = parse(&[0x48, 0x83, 0xc4, 40, 0x5b, 0x41, 0x5c, 0xc3], 0);
        let expected = Epilog {
            from_frame_pointer: None,
            add: 40,
            pops: vec![3, 12],
        };
        assert_eq!(epilog, Some(expected));
    }

    #[test]
    fn lea_from_the_frame_pointer_is_an_epilog() {
        // lea rsp, [rbp - 16]; pop rbp; ret
        let epilog = parse(&[0x48, 0x8d, 0x65, 0xf0, 0x5d, 0xc3], 5);
        let expected = Epilog {
            from_frame_pointer: Some(-16),
            add: 0,
            pops: vec![5],
        };
        assert_eq!(epilog, Some(expected));
    }

    #[test]
    fn jump_alone_is_no_epilog() {
        assert_eq!(parse(&[0xe9, 0, 0, 0, 0], 0), None);
    }

    #[test]
    fn other_instruction_between_is_no_epilog() {
        // add rsp, 40; nop; ret
        assert_eq!(parse(&[0x48, 0x83, 0xc4, 40, 0x90, 0xc3], 0), None);
    }
}
