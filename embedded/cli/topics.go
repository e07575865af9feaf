package cli

// TopicsCmd has the commands for the topics of a system.
type TopicsCmd struct {
	Grow TopicsGrowCmd `cmd:"" help:"Add partitions to the topics of requests while jobs run, so that more workers can share a lane."`
}
