//go:build !unix

package external

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/ackwire/ackwire/processor"
)

// Command is a program that handles jobs. This system does not support it.
type Command struct{}

// NewCommand always fails: this system has no process groups, without which a command's children could not be killed.
func NewCommand([]string, []string, string) (*Command, error) {
	return nil, errors.New("commands as handlers need a Unix system")
}

// Handle is a processor.RawHandler that always fails.
func (*Command) Handle(context.Context, *processor.Job, []byte) (json.RawMessage, error) {
	return nil, errors.New("commands as handlers need a Unix system")
}
