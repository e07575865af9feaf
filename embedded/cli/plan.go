package cli

import (
	"fmt"
	"slices"

	"github.com/ackwire/ackwire/embedded/internal/plan"
	"github.com/ackwire/ackwire/schemas/jobtypes"
	"github.com/ackwire/ackwire/schemas/topic"
)

// PlanFlags say what an Ackwire needs in Kafka. They are those of the processes, and must be the same.
type PlanFlags struct {
	TopicPrefix   string            `help:"Prefix of all topics and consumer groups." default:"ackwire."`
	JobTypes      string            `help:"YAML file that declares the job types, whose lanes and lives decide about topics; without it there are the demo types." placeholder:"FILE"`
	Lanes         []string          `help:"Lanes, instead of those of the job types." placeholder:"LANE" sep:","`
	Partitions    int32             `help:"Number of partitions of topics." default:"12"`
	TopicSettings []string          `help:"Settings of topics other than the built-in ones, as the processes have them." placeholder:"KIND.SETTING=VALUE" sep:","`
	Role          []string          `help:"Roles to look at, instead of all: gateway, tracker, processor and cli, the commands that people run." placeholder:"ROLE" sep:","`
	Principal     map[string]string `help:"Who runs a role in Kafka, by role or processor.LANE, such as gateway=User:gw or processor.default=User:w. Default: User:ackwire-ROLE, User:ackwire-processor-LANE." placeholder:"ROLE=TYPE:NAME" mapsep:";"`
	TrackerNoView bool              `help:"Trackers run with this flag, as those of the embedded broker do: there is no topic view, and nothing is written in transactions."`
	WithCreate    bool              `help:"Count also the permissions with which processes make topics themselves (--topics create)."`
	Replication   int               `help:"Copies of each partition of topics that an administrator makes; 0 means the cluster's default." default:"3"`
	CommandConfig string            `help:"File with the settings by which Kafka's own tools connect, for the commands that are printed." placeholder:"FILE"`
}

// plan reads the job types, and returns the plan.
func (f *PlanFlags) plan() (plan.Plan, error) {
	p := plan.Plan{Names: topic.Names{Prefix: f.TopicPrefix}, Lanes: f.Lanes, Partitions: f.Partitions,
		Replication: f.Replication, Settings: f.TopicSettings, Principals: f.Principal, Create: f.WithCreate,
		NoView: f.TrackerNoView}
	for _, name := range f.Role {
		if !slices.Contains(topic.Roles, topic.Role(name)) {
			return p, fmt.Errorf("role: %q is not gateway, tracker, processor or cli", name)
		}
		p.Roles = append(p.Roles, topic.Role(name))
	}
	var err error
	if p.Types, err = jobtypes.Load(f.JobTypes); err != nil {
		return p, err
	}
	return p, p.Validate()
}

func (f *PlanFlags) tools(brokers []string) plan.Tools {
	return plan.Tools{Brokers: brokers, CommandConfig: f.CommandConfig}
}

// TopicsShowCmd prints what an administrator of Kafka has to make. It asks no server.
type TopicsShowCmd struct {
	PlanFlags      `embed:""`
	Print          string   `help:"What to print: a table of topics; shell scripts that make topics (kafka-topics) or permissions (acls) with Kafka's own tools; or both as resources of Strimzi or Terraform (Mongey/kafka)." enum:"table,kafka-topics,acls,strimzi,terraform" default:"table"`
	Brokers        []string `name:"kafka" help:"Kafka bootstrap brokers, host:port, for the commands that are printed." default:"127.0.0.1:9092" placeholder:"HOST:PORT" sep:","`
	StrimziCluster string   `help:"Name of the Kafka cluster of Strimzi." default:"my-cluster"`
	StrimziAuth    string   `help:"How the users of Strimzi authenticate: scram-sha-512, tls or tls-external." enum:"scram-sha-512,tls,tls-external" default:"scram-sha-512"`
}

// Help returns the text that kong prints below the flags.
func (c *TopicsShowCmd) Help() string {
	return "Nothing is changed, and Kafka is not asked: \"ackwire doctor\" compares a Kafka with what is printed here. " +
		"Processes then run with --topics verify, and need no permission to make topics."
}

// Run implements the command.
func (c *TopicsShowCmd) Run(env *Env) error {
	p, err := c.plan()
	if err != nil {
		return refused(err)
	}
	var text string
	switch c.Print {
	case "kafka-topics":
		text = p.KafkaTopics(c.tools(c.Brokers))
	case "acls":
		text = p.KafkaACLs(c.tools(c.Brokers))
	case "strimzi":
		text, err = p.Strimzi(plan.Strimzi{Cluster: c.StrimziCluster, Authentication: c.StrimziAuth})
	case "terraform":
		text, err = p.Terraform()
	default:
		text = p.Table()
	}
	if err != nil {
		return refused(err)
	}
	if _, err := env.Stdout.Write([]byte(text)); err != nil {
		return refused(fmt.Errorf("print: %w", err))
	}
	return nil
}
