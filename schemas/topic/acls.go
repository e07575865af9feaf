package topic

// Role is a kind of process that needs permissions in Kafka.
type Role string

// Roles. A gateway needs what is marked (bulk) only if it runs bulk actions. A processor needs permissions only for its
// lanes; RoleCommands stands for the commands that people run: dead, doctor and topics.
const (
	RoleGateway   Role = "gateway"
	RoleTracker   Role = "tracker"
	RoleProcessor Role = "processor"
	RoleCommands  Role = "cli"
)

// Roles are all roles.
var Roles = []Role{RoleGateway, RoleTracker, RoleProcessor, RoleCommands}

// Resources of permissions, as kafka-acls.sh names them.
const (
	ResourceTopic         = "topic"
	ResourceGroup         = "group"
	ResourceTransactional = "transactional-id"
)

// ACL is what one role may do with one resource. Read and Write include Describe, as in Kafka.
type ACL struct {
	Resource   string   // one of the constants Resource…
	Name       string   // of the resource, with the prefix
	Prefixed   bool     // Name is the beginning of the names of several resources
	Operations []string // constants Op…
	Why        string   // what the role does with it, for people
}

// Operations of permissions, as kafka-acls.sh names them.
const (
	OpRead            = "Read"
	OpWrite           = "Write"
	OpDescribe        = "Describe"
	OpDescribeConfigs = "DescribeConfigs"
	OpCreate          = "Create"
	OpAlter           = "Alter"
	OpAlterConfigs    = "AlterConfigs"
)

// ACLs returns all permissions that a role needs. Lanes count for processors only. A process that makes topics
// (--topics create) needs those of CreateACLs, too.
func (n Names) ACLs(role Role, lanes []string) []ACL {
	switch role {
	case RoleGateway:
		return n.GatewayACLs(true)
	case RoleTracker:
		return []ACL{
			of(ResourceTopic, n.Status(), "fold events, and append those of timers", OpRead, OpWrite, OpDescribeConfigs),
			of(ResourceTopic, n.View(), "keep and restore the table of jobs", OpRead, OpWrite, OpDescribeConfigs),
			all(ResourceTopic, n.Requests(""), "hand jobs out again, with their payloads", OpRead, OpWrite,
				OpDescribeConfigs),
			of(ResourceTopic, n.Deferred(), "read the payloads of later jobs, write dead letters back", OpRead, OpWrite,
				OpDescribeConfigs),
			of(ResourceTopic, n.Streams(), "serve what running jobs write", OpRead, OpDescribeConfigs),
			of(ResourceTopic, n.Control(), "send orders to workers", OpWrite, OpDescribeConfigs),
			of(ResourceTopic, n.Dead(), "set records aside that cannot be decoded, and show them to operators", OpRead,
				OpWrite, OpDescribeConfigs),
			of(ResourceTopic, n.Audit(), "show operators who did what", OpRead, OpDescribeConfigs),
			of(ResourceGroup, n.TrackerGroup(), "share partitions with other trackers", OpRead),
			all(ResourceGroup, n.ProcessorGroup(""), "measure backlogs", OpDescribe),
			all(ResourceTransactional, n.View()+"-", "write the table of jobs", OpWrite),
		}
	case RoleProcessor:
		acls := []ACL{
			of(ResourceTopic, n.Status(), "claim jobs, report progress and outcomes", OpWrite, OpDescribeConfigs),
			of(ResourceTopic, n.Streams(), "write to jobs' streams", OpWrite, OpDescribeConfigs),
			of(ResourceTopic, n.Control(), "read orders", OpRead, OpDescribeConfigs),
			of(ResourceTopic, n.Dead(), "set requests aside that cannot be decoded", OpWrite, OpDescribeConfigs),
		}
		for _, lane := range lanes {
			acls = append(acls,
				of(ResourceTopic, n.Requests(lane), "take jobs", OpRead, OpDescribeConfigs),
				of(ResourceGroup, n.ProcessorGroup(lane), "share partitions with the lane's other workers", OpRead))
		}
		return acls
	case RoleCommands:
		return []ACL{
			all(ResourceTopic, n.Prefix, "compare topics (doctor)", OpDescribe, OpDescribeConfigs),
			of(ResourceTopic, n.Dead(), "list dead letters (dead)", OpRead),
			of(ResourceTopic, n.Audit(), "print who did what (audit)", OpRead),
			of(ResourceTopic, n.View(), "find a dead letter's job (dead requeue)", OpRead),
			of(ResourceTopic, n.Status(), "hand a dead letter's job out again (dead requeue)", OpRead, OpWrite),
			all(ResourceTopic, n.Requests(""), "write dead letters back (dead requeue)", OpRead, OpWrite),
			of(ResourceTopic, n.Deferred(), "write dead letters back (dead requeue)", OpRead, OpWrite),
			all(ResourceGroup, n.Prefix, "count members (doctor)", OpDescribe),
		}
	}
	return nil
}

// CreateACLs returns the permissions, beside those of ACLs, with which a process may make topics.
func (n Names) CreateACLs() []ACL {
	return []ACL{{Resource: ResourceTopic, Name: n.Prefix, Prefixed: true, Operations: []string{OpCreate, OpAlterConfigs},
		Why: "make missing topics, and keep those that were made longer if a job type needs it (--topics create)"}}
}

// GatewayACLs returns the permissions that a gateway needs; bulk says whether it runs bulk actions.
func (n Names) GatewayACLs(bulk bool) []ACL {
	acls := []ACL{
		of(ResourceTopic, n.Status(), "accept and cancel jobs", OpWrite, OpDescribeConfigs),
		of(ResourceTopic, n.Deferred(), "keep the requests of later jobs", OpWrite, OpDescribeConfigs),
		all(ResourceTopic, n.Requests(""), "hand jobs to workers", OpWrite, OpDescribeConfigs),
		of(ResourceTopic, n.Audit(), "record who did what", OpWrite, OpDescribeConfigs),
		of(ResourceGroup, n.TrackerGroup(), "find the trackers", OpDescribe),
		all(ResourceGroup, n.ProcessorGroup(""), "count workers and waiting jobs", OpDescribe),
	}
	if bulk {
		acls = append(acls,
			of(ResourceTopic, n.Requests(BulkLane), "take bulk actions (bulk)", OpRead),
			of(ResourceGroup, n.ProcessorGroup(BulkLane), "share bulk actions with other gateways (bulk)", OpRead),
			of(ResourceTopic, n.Control(), "read orders to bulk actions (bulk)", OpRead, OpDescribeConfigs),
			of(ResourceTopic, n.Streams(), "tell which jobs a bulk action skipped (bulk)", OpWrite, OpDescribeConfigs),
			of(ResourceTopic, n.Dead(), "set requests of bulk actions aside that cannot be decoded (bulk)", OpWrite,
				OpDescribeConfigs))
	}
	return acls
}

// of is a permission for one resource.
func of(resource, name, why string, operations ...string) ACL {
	return ACL{Resource: resource, Name: name, Operations: operations, Why: why}
}

// all is a permission for all resources whose names begin with prefix.
func all(resource, prefix, why string, operations ...string) ACL {
	return ACL{Resource: resource, Name: prefix, Prefixed: true, Operations: operations, Why: why}
}
