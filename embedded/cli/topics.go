package cli

// TopicsCmd has the commands for the topics and permissions of a system.
type TopicsCmd struct {
	Show  TopicsShowCmd  `cmd:"" default:"withargs" help:"Print which topics and permissions Ackwire needs in Kafka, ready for an administrator."`
	Apply TopicsApplyCmd `cmd:"" help:"Make the topics that are missing in Kafka, and give each role its permissions, as an administrator."`
	Grow  TopicsGrowCmd  `cmd:"" help:"Add partitions while jobs run: to the topics of requests, or by moving to topics of another prefix."`
}
