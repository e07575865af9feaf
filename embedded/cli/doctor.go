package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/ackwire/ackwire/embedded/internal/doctor"
	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/internal/service"
	"github.com/ackwire/ackwire/schemas/plainjson"
)

// DoctorCmd examines a Kafka and says what is missing.
type DoctorCmd struct {
	Kafka     kafka.Config `embed:""`
	PlanFlags `embed:""`
	Probe     bool `help:"Also write: some records to the topic control that all workers ignore, to measure writes and the clock, and one transactional ID, to see whether transactions work."`
	JSON      bool `name:"json" help:"Print one JSON document per finding on stdout and nothing else."`
}

// Validate reports what is wrong with the flags. The flag parser calls it.
func (c *DoctorCmd) Validate() error { return c.Kafka.Check() }

// Help returns the text that kong prints below the flags.
func (c *DoctorCmd) Help() string {
	return "Connect as a process does, with its flags, to see what that process may do: its permissions are those of " +
		"the user. To see those of another user, name it by --principal; that needs Describe on the cluster. Without " +
		"--probe nothing is written.\n\nExit codes: 0 nothing is missing; 1 something is missing or wrong; 2 Kafka cannot " +
		"be reached or refuses the connection, or wrong usage."
}

// doctorTimeout bounds the whole examination.
const doctorTimeout = 5 * time.Minute

// Run implements the command.
func (c *DoctorCmd) Run(env *Env) error {
	p, err := c.plan()
	if err != nil {
		return refused(err)
	}
	ctx, cancel := context.WithTimeout(env.Context, doctorTimeout)
	defer cancel()
	count := map[doctor.State]int{}
	cfg := doctor.Config{Kafka: c.Kafka, Plan: p, Tools: c.tools(c.Kafka.Brokers), Probe: c.Probe,
		Env: service.OS(slog.New(slog.DiscardHandler))} // findings tell all that it would log
	reached := doctor.Run(ctx, cfg, func(f doctor.Finding) {
		count[f.State]++
		c.print(env, f)
	})
	switch {
	case env.Context.Err() != nil:
		return errInterrupted
	case ctx.Err() != nil:
		return refused(fmt.Errorf("the examination took more than %s", doctorTimeout))
	case !reached:
		return refused(errors.New("no broker can be asked: nothing else was examined"))
	}
	wrong := count[doctor.Wrong] + count[doctor.Unreachable]
	if !c.JSON {
		fmt.Fprintf(env.Stdout, "%d in order, %d not known, %d could be better, %d wrong\n", count[doctor.OK],
			count[doctor.Unknown], count[doctor.Advice], wrong)
	}
	if wrong > 0 {
		return &ExitError{Code: ExitFailed}
	}
	return nil
}

// print prints one finding.
func (c *DoctorCmd) print(env *Env, f doctor.Finding) {
	if c.JSON {
		b, _ := plainjson.Marshal(f) // strings always marshal
		fmt.Fprintf(env.Stdout, "%s\n", harmless(b))
		return
	}
	line := fmt.Sprintf("%-11s %s %s: %s", f.State, f.Check, clean(f.Subject), clean(f.Text))
	if f.Command != "" {
		line += " | " + clean(f.Command)
	}
	fmt.Fprintln(env.Stdout, line)
}
