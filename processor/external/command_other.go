//go:build !unix

package external

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/ackwire/ackwire/processor"
)

// Command is a program that handles jobs; there are none on this system.
type Command struct{}

// NewCommand fails: a command's process group cannot be ended here.
func NewCommand([]string, []string, string) (*Command, error) {
	return nil, errors.New("commands as handlers need a Unix system")
}

// Handle is a processor.RawHandler.
func (*Command) Handle(context.Context, *processor.Job, []byte) (json.RawMessage, error) {
	return nil, errors.New("no commands here")
}
