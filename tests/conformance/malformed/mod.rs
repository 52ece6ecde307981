//! Packets that break the rules: each gets the answer that its version has for it and the end of its connection,
//! what follows it is not processed, and nobody else notices.

mod acknowledgements;
mod case;
mod connect;
mod connect_properties;
mod disconnect;
mod framing;
mod publish;
mod strings;
mod subscribe;

use case::Case;

/// All tables together, so that their size can be seen to.
fn all() -> Vec<Case> {
    [
        framing::flags(),
        framing::lengths(),
        framing::directions(),
        connect::first_packets(),
        connect::flags(),
        connect::fields(),
        connect::identifiers(),
        connect_properties::connect(),
        connect_properties::will(),
        publish::headers(),
        publish::topics(),
        publish::properties(),
        acknowledgements::all(),
        subscribe::subscribe(),
        subscribe::unsubscribe(),
        disconnect::disconnect(),
        disconnect::auth(),
        strings::all(),
    ]
    .concat()
}

#[test]
fn there_are_at_least_300_cases_and_no_two_are_alike() {
    let cases = all();
    assert!(cases.len() >= 300, "{} cases", cases.len());
    let mut seen = std::collections::BTreeSet::new();
    for case in &cases {
        assert!(
            seen.insert((case.version, case.is_first, case.bytes.clone())),
            "{} is there twice",
            case.name
        );
    }
}
