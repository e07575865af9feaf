package kafka

import (
	"fmt"
	"slices"
)

// Topics has the settings by which a process makes and verifies its topics.
type Topics struct {
	Mode     string   `name:"topics" help:"What to do with topics at the start: create makes those that are missing and verifies all; verify makes none, and needs no permission to; off does neither." enum:"create,verify,off" default:"create"`
	Settings []string `name:"topic-settings" help:"Settings of topics other than the built-in ones, by kind of topic: status, requests, deferred, view, control, dead, audit or streams. Without a value the broker's default is taken. Partitions and replication count as settings." placeholder:"KIND.SETTING=VALUE" sep:","`
}

// Modes of Topics.
const (
	TopicsCreate = "create"
	TopicsVerify = "verify"
	TopicsOff    = "off"
)

// Check returns what is wrong with the mode. The settings are the services' to check.
func (c Topics) Check() error {
	if !slices.Contains([]string{"", TopicsCreate, TopicsVerify, TopicsOff}, c.Mode) {
		return fmt.Errorf("topics: %q is not create, verify or off", c.Mode)
	}
	return nil
}
