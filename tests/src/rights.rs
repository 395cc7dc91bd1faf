//! Rights that a broker's administrator gives and takes away.

use std::ffi::{CString, c_char};
use std::ptr;
use std::time::Duration;

use rdkafka::bindings as native;
use rdkafka::bindings::rd_kafka_AclOperation_t as Operation;
use rdkafka::bindings::rd_kafka_AclPermissionType_t as Permission;
use rdkafka::bindings::rd_kafka_ResourceType_t as Kind;
use rdkafka::bindings::{rd_kafka_ResourcePatternType_t as Pattern, rd_kafka_admin_op_t as Request};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};

const ANSWER: Duration = Duration::from_secs(30);

/// librdkafka writes the reason of a refused argument into a buffer of the caller's.
const ERROR_TEXT_BYTES: usize = 512;

/// Something of a broker's that rights are about.
#[derive(Clone, Copy, Debug)]
pub enum Resource<'a> {
    Topic(&'a str),
    Group(&'a str),
    TransactionalId(&'a str),
}

/// Every one of its kind; any host.
pub const EVERY: &str = "*";

/// What may be done with it, by the name that Kafka has for it.
fn operation(name: &str) -> Operation {
    match name {
        "All" => Operation::RD_KAFKA_ACL_OPERATION_ALL,
        "Read" => Operation::RD_KAFKA_ACL_OPERATION_READ,
        "Write" => Operation::RD_KAFKA_ACL_OPERATION_WRITE,
        "Create" => Operation::RD_KAFKA_ACL_OPERATION_CREATE,
        "Delete" => Operation::RD_KAFKA_ACL_OPERATION_DELETE,
        "DescribeConfigs" => Operation::RD_KAFKA_ACL_OPERATION_DESCRIBE_CONFIGS,
        other => panic!("no operation of the tests: {other}"),
    }
}

/// Who gives them: a super user's client.
pub struct Rights(BaseConsumer);

impl Rights {
    pub fn of(broker: &str) -> Rights {
        Rights(ClientConfig::new().set("bootstrap.servers", broker).create().expect("a client can be made"))
    }

    pub fn allow(&self, principal: &str, resource: Resource<'_>, operation: &str) {
        let pattern = Pattern::RD_KAFKA_RESOURCE_PATTERN_LITERAL;
        self.add(principal, resource, pattern, operation, Permission::RD_KAFKA_ACL_PERMISSION_TYPE_ALLOW);
    }

    /// Everything whose name begins so.
    pub fn allow_prefixed(&self, principal: &str, resource: Resource<'_>, operation: &str) {
        let pattern = Pattern::RD_KAFKA_RESOURCE_PATTERN_PREFIXED;
        self.add(principal, resource, pattern, operation, Permission::RD_KAFKA_ACL_PERMISSION_TYPE_ALLOW);
    }

    /// Stronger than anything that allows it.
    pub fn deny(&self, principal: &str, resource: Resource<'_>, operation: &str) {
        let pattern = Pattern::RD_KAFKA_RESOURCE_PATTERN_LITERAL;
        self.add(principal, resource, pattern, operation, Permission::RD_KAFKA_ACL_PERMISSION_TYPE_DENY);
    }

    fn add(&self, principal: &str, resource: Resource<'_>, pattern: Pattern, operation: &str, permission: Permission) {
        let operation = self::operation(operation);
        let (kind, name) = resource.named();
        let (name, principal, host) = (c(name), c(principal), c(EVERY));
        let mut why: [c_char; ERROR_TEXT_BYTES] = [0; ERROR_TEXT_BYTES];
        // SAFETY: all texts live during the call, which copies them.
        let mut binding = unsafe {
            native::rd_kafka_AclBinding_new(
                kind,
                name.as_ptr(),
                pattern,
                principal.as_ptr(),
                host.as_ptr(),
                operation,
                permission,
                why.as_mut_ptr(),
                ERROR_TEXT_BYTES,
            )
        };
        assert!(!binding.is_null(), "{resource:?} can have rights");
        self.ask(Request::RD_KAFKA_ADMIN_OP_CREATEACLS, |client, options, queue| {
            // SAFETY: everything is live; the one binding is copied.
            unsafe { native::rd_kafka_CreateAcls(client, &mut binding, 1, options, queue) }
        });
        // SAFETY: ours, destroyed once.
        unsafe { native::rd_kafka_AclBinding_destroy(binding) };
    }

    /// Takes back what was denied.
    pub fn allow_again(&self, principal: &str, resource: Resource<'_>) {
        let (kind, name) = resource.named();
        let (name, principal) = (c(name), c(principal));
        let mut why: [c_char; ERROR_TEXT_BYTES] = [0; ERROR_TEXT_BYTES];
        // SAFETY: as in `add`; no host is any host.
        let mut filter = unsafe {
            native::rd_kafka_AclBindingFilter_new(
                kind,
                name.as_ptr(),
                Pattern::RD_KAFKA_RESOURCE_PATTERN_LITERAL,
                principal.as_ptr(),
                ptr::null(),
                Operation::RD_KAFKA_ACL_OPERATION_ANY,
                Permission::RD_KAFKA_ACL_PERMISSION_TYPE_DENY,
                why.as_mut_ptr(),
                ERROR_TEXT_BYTES,
            )
        };
        assert!(!filter.is_null(), "{resource:?} can have rights");
        self.ask(Request::RD_KAFKA_ADMIN_OP_DELETEACLS, |client, options, queue| {
            // SAFETY: everything is live; the one filter is copied.
            unsafe { native::rd_kafka_DeleteAcls(client, &mut filter, 1, options, queue) }
        });
        // SAFETY: ours, destroyed once; a filter is a binding to librdkafka.
        unsafe { native::rd_kafka_AclBinding_destroy(filter) };
    }

    /// Sends one request and waits for an answer without an error.
    fn ask(
        &self,
        request: Request,
        send: impl FnOnce(*mut native::rd_kafka_t, *const native::rd_kafka_AdminOptions_t, *mut native::rd_kafka_queue_t),
    ) {
        let client = self.0.client().native_ptr();
        // SAFETY: the client lives as long as this value; queue, options and event are ours and destroyed once.
        unsafe {
            let queue = native::rd_kafka_queue_new(client);
            let options = native::rd_kafka_AdminOptions_new(client, request);
            send(client, options, queue);
            native::rd_kafka_AdminOptions_destroy(options);
            let event = native::rd_kafka_queue_poll(queue, ANSWER.as_millis() as i32);
            assert!(!event.is_null(), "the broker answers");
            let code = native::rd_kafka_event_error(event);
            assert_eq!(code, native::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR, "rights can be changed");
            native::rd_kafka_event_destroy(event);
            native::rd_kafka_queue_destroy(queue);
        }
    }
}

impl Resource<'_> {
    fn named(&self) -> (Kind, &str) {
        match self {
            Resource::Topic(name) => (Kind::RD_KAFKA_RESOURCE_TOPIC, name),
            Resource::Group(name) => (Kind::RD_KAFKA_RESOURCE_GROUP, name),
            Resource::TransactionalId(name) => (Kind::RD_KAFKA_RESOURCE_TRANSACTIONAL_ID, name),
        }
    }
}

fn c(text: &str) -> CString {
    CString::new(text).expect("a name has no zero byte")
}
