/// The version of librdkafka that is linked in.
pub fn client_version() -> String {
    rdkafka::util::get_rdkafka_version().1
}
