//! gmqtt, a Python client with a protocol implementation of its own. It tells no codes of publishes and always makes
//! its own identifier.

use crate::support::driver::Driver;

flows! {
    library: Driver::python("gmqtt", "gmqtt_driver.py"),
    both: [
        a_session_begins_and_goes_on_as_asked,
        only_the_right_password_is_accepted,
        every_qos_passes_in_both_directions,
        a_will_is_published_when_the_connection_breaks,
        retained_messages_are_replayed_replaced_and_cleared,
        a_shared_subscription_divides_its_messages,
        a_resumed_session_gets_what_waited,
        another_connection_of_the_same_client_takes_over,
        an_unsubscribed_filter_brings_nothing,
        half_a_mebibyte_passes_unaltered,
    ],
    v5: [
        properties_pass_unaltered_and_in_order,
        a_message_that_expired_does_not_come,
        a_request_is_answered_at_its_response_topic,
        the_subscription_that_matched_is_told,
        options_of_a_subscription_are_kept,
        a_topic_alias_stands_for_its_topic,
        a_delayed_will_waits,
        codes_of_other_answers_are_seen,
        the_servers_keep_alive_is_seen,
        a_disconnect_can_ask_for_the_will,
        topic_aliases_of_the_node_are_understood,
    ]
}
