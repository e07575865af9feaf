package command_test

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/ackwire/ackwire/internal/command"
)

type inner struct {
	Names []string `default:"a,b"`
	Unset string
}

// Validate refuses every one: the defaults alone need not be right.
func (outer) Validate() error { return errors.New("never right") }

type outer struct {
	Inner inner         `embed:""`
	Wait  time.Duration `default:"1m"`
	Count int64         `default:"1048576"`
	Key   []byte        `kong:"-"`
}

func TestDefaultsAreThoseOfTheTags(t *testing.T) {
	t.Setenv("ACKWIRE_COUNT", "5")
	want := outer{Inner: inner{Names: []string{"a", "b"}}, Wait: time.Minute, Count: 1 << 20}
	if got := command.Defaults[outer](); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
}

func TestAWrongDefaultIsFoundAtOnce(t *testing.T) {
	defer func() {
		if p, _ := recover().(string); !strings.Contains(p, "count") {
			t.Errorf("panicked with %q", p)
		}
	}()
	command.Defaults[struct {
		Count int `default:"many"`
	}]()
}
