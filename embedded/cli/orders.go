package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/plainjson"
)

const orderTimeout = 30 * time.Second // for which cancel and retry wait for their ack

// CancelCmd stops a job.
type CancelCmd struct {
	Flags `embed:""`
	ID    string `arg:"" name:"jobid" help:"The job's ID."`
}

// Help returns the text that kong prints below the flags.
func (c *CancelCmd) Help() string {
	return "A job that does not run is cancelled at once. The handler of a running job is told to stop, and after a " +
		"grace period the job is cancelled in any case. Exit codes: 0 taken; 2 the job has ended, is not known, or the " +
		"request was refused."
}

// Run implements the command.
func (c *CancelCmd) Run(env *Env) error {
	return c.connected(env, nil, func(ctx context.Context, client *ackwire.Client) error {
		state, err := client.Job(c.ID).Cancel(ctx)
		if err != nil {
			return refused(err)
		}
		newView(env, &c.Flags).ordered(c.ID, state, "cancel requested; it stops soon")
		return nil
	})
}

// RetryCmd runs an ended job again.
type RetryCmd struct {
	Flags  `embed:""`
	ID     string `arg:"" name:"jobid" help:"The job's ID."`
	NoWait bool   `name:"no-wait" aliases:"detach" help:"Exit when the retry is accepted; the job goes on."`
}

// Help returns the text that kong prints below the flags.
func (c *RetryCmd) Help() string {
	return "The job keeps its ID and its payload, and gets a new budget of attempts. " + exitHelp
}

// Run implements the command.
func (c *RetryCmd) Run(env *Env) error {
	v := newView(env, &c.Flags)
	return c.connected(env, v, func(ctx context.Context, client *ackwire.Client) error {
		state, err := client.Job(c.ID).Retry(ctx)
		if err != nil {
			if errors.Is(err, ackwire.ErrIndeterminate) {
				err = fmt.Errorf("%w (ackwire get tells whether it runs again)", err)
			}
			return refused(err)
		}
		if c.NoWait {
			v.ordered(c.ID, state, "runs again")
			return nil
		}
		return v.follow(c.ID, client.Job(c.ID).Watch(env.Context))
	})
}

// EraseCmd removes ended jobs.
type EraseCmd struct {
	Flags `embed:""`
	IDs   []string `arg:"" name:"jobid" help:"IDs of jobs that have ended."`
}

// Help returns the text that kong prints below the flags.
func (c *EraseCmd) Help() string {
	return "The jobs' documents, payloads and results are removed, and they are not known any more. Kafka holds their " +
		"records until its retention. The token needs the permission erase. Exit codes: 0 all are removed; 2 a job has " +
		"not ended, is not known, or the request was refused: the jobs after it are not removed, either."
}

// Run implements the command.
func (c *EraseCmd) Run(env *Env) error {
	for _, id := range c.IDs {
		_, err := query(env, &c.Flags, func(ctx context.Context, api *ackwire.HTTPClient) (struct{}, error) {
			return struct{}{}, api.Job(id).Erase(ctx)
		})
		if err != nil {
			return c.queryError(env, err)
		}
		fmt.Fprintf(env.Stderr, "job %s is erased\n", clean(id))
	}
	return nil
}

// connected connects to the gateway and calls do, both within orderTimeout.
func (f *Flags) connected(env *Env, v *view, do func(context.Context, *ackwire.Client) error) error {
	ctx, cancel := context.WithTimeout(env.Context, orderTimeout)
	defer cancel()
	client, err := ackwire.Dial(ctx, f.URL, f.options(env, v)...)
	if env.Context.Err() != nil && err != nil {
		return &ExitError{Code: ExitInterrupted}
	}
	if err != nil {
		return refused(f.unreachable(err))
	}
	defer client.Close()
	return do(ctx, client)
}

// ordered prints the ack of a cancel or retry.
func (v *view) ordered(jobID string, state job.State, running string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.flags.JSON {
		ack, _ := plainjson.Marshal(struct {
			JobID string    `json:"jobId"`
			State job.State `json:"state"`
		}{jobID, state}) // strings always marshal
		v.line(ack)
		return
	}
	note := ""
	if !state.Terminal() {
		note = ": " + running
	}
	fmt.Fprintf(v.env.Stderr, "job %s is %s%s\n", clean(jobID), clean(string(state)), note)
}

// ResultCmd downloads a job's result.
type ResultCmd struct {
	Flags  `embed:""`
	ID     string `arg:"" name:"jobid" help:"The job's ID."`
	Output string `short:"o" help:"Write it to this file instead of stdout." placeholder:"FILE"`
}

// Help returns the text that kong prints below the flags.
func (c *ResultCmd) Help() string {
	return "Exit codes: 0 written; 2 the job has no result, is not known, or the request was refused."
}

// Run implements the command.
func (c *ResultCmd) Run(env *Env) error {
	return c.download(env, c.Output, "result", func(api *ackwire.HTTPClient) (*ackwire.Content, error) {
		return api.Job(c.ID).Result(env.Context)
	})
}

// download writes what open returns to a file, or to stdout without one.
func (f *Flags) download(
	env *Env, file, what string, open func(*ackwire.HTTPClient) (*ackwire.Content, error),
) (err error) {
	api, err := ackwire.NewHTTP(f.URL, f.options(env, nil)...)
	if err != nil {
		return refused(f.unreachable(err))
	}
	defer api.CloseIdleConnections()
	r, err := open(api)
	if err != nil {
		return refused(f.unreachable(err))
	}
	defer func() { _ = r.Close() }()
	to := env.Stdout
	if file != "" {
		f, err := os.Create(file)
		if err != nil {
			return refused(err)
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		to = f
	}
	if _, err := io.Copy(to, r); err != nil {
		return refused(fmt.Errorf("the %s broke off: %w", what, err))
	}
	return nil
}
