// Command peers puts the same open loop on Ackwire, on River (jobs in PostgreSQL) and on Asynq (tasks in Redis), and
// prints one table. run.sh starts temporary servers for it; docs/compare.md has the table and says how each is set.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/alecthomas/kong"

	"github.com/ackwire/ackwire/internal/command"
	"github.com/ackwire/ackwire/loadtest/pace"
)

// config has the settings of a comparison.
type config struct {
	Ackwire  map[string]string `help:"Ackwire to measure: the address of a gateway, whose workers serve demo.echo, by a name for the table. Repeat it for each." placeholder:"NAME=URL"`
	Postgres string            `help:"Connection string of a PostgreSQL database in which River is measured. Its tables are made there." placeholder:"DSN"`
	Redis    string            `help:"Address of a Redis server in which Asynq is measured. Its appendonly and appendfsync are changed." placeholder:"HOST:PORT"`

	Rates    []float64     `help:"Jobs per second at which latencies are measured." default:"500,2000"`
	Rounds   int           `help:"Number of rounds over all systems; the table has the medians." default:"3"`
	Duration time.Duration `help:"Time for which a rate is judged." default:"10s"`
	WarmUp   time.Duration `help:"Time at the same rate before it is judged." default:"3s"`

	Bound     time.Duration `help:"Bound of the ack's p99 at the highest rate." default:"50ms"`
	EndBound  time.Duration `help:"Bound of the end's p99 at the highest rate." default:"1s"`
	From      float64       `help:"The first rate of the search for the highest." default:"250"`
	Most      float64       `help:"No rate above this is tried." default:"20000"`
	Precision float64       `help:"The highest rate is searched to this share; 0 leaves the search out." default:"0.1"`
	Sockets   int           `help:"Sockets that submit to Ackwire, and connections to PostgreSQL and to Redis." default:"32"`
}

// slots is the number of jobs that each system runs at the same time: Ackwire's default.
const slots = 64

func (c config) validate() error {
	problems := []error{pace.Search{From: c.From, Most: c.Most, Precision: max(c.Precision, 1e-9)}.Validate()}
	say := func(wrong bool, text string) {
		if wrong {
			problems = append(problems, errors.New(text))
		}
	}
	say(len(c.Ackwire) == 0 && c.Postgres == "" && c.Redis == "", "nothing to measure: give ackwire, postgres or redis")
	say(c.Rounds < 1, "rounds must be at least 1")
	say(c.Duration <= 0 || c.WarmUp < 0, "duration must be above 0, and warm-up not below")
	say(c.Bound <= 0 || c.EndBound <= 0, "bound and end-bound must be above 0")
	say(c.Precision < 0, "precision must not be negative")
	say(c.Sockets < 1, "sockets must be at least 1")
	say(len(c.Rates) == 0, "rates must name a rate")
	for _, rate := range c.Rates {
		say(!(rate > 0), "rates must be above 0")
	}
	return errors.Join(problems...)
}

func main() {
	var c config
	kong.Parse(&c, command.Options("peers", "Measures Ackwire, River and Asynq under the same open loop.")...)
	ctx, cancel := command.Signalled()
	defer cancel()
	r, err := measureAll(ctx, c)
	if len(r.rows) > 0 {
		r.print(os.Stdout) // also what was measured of a run that was broken off
	}
	if err != nil {
		os.Exit(command.Fail("peers", err))
	}
}

// measureAll measures all systems that the configuration names.
func measureAll(ctx context.Context, c config) (report, error) {
	if err := c.validate(); err != nil {
		return report{}, err
	}
	var peers []peer
	r := report{rates: c.Rates, bounds: pace.Bounds{Ack: c.Bound, End: c.EndBound}}
	for _, list := range []func(context.Context, config) ([]peer, []string, error){ackwires, rivers, asynqs} {
		some, versions, err := list(ctx, c)
		if err != nil {
			return r, err
		}
		peers, r.versions = append(peers, some...), append(r.versions, versions...)
	}
	rows, err := compare(ctx, c, peers, func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) })
	r.rows = rows
	return r, err
}
