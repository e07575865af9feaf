package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/ackwire/ackwire/embedded/internal/plan"
	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/internal/pause"
)

// TopicsApplyCmd makes in Kafka what topics prints.
type TopicsApplyCmd struct {
	PlanFlags `embed:""`
	Kafka     kafka.Config `embed:""`
}

// Times of the command.
const (
	applyTimeout = 3 * time.Minute
	applyTry     = 15 * time.Second
	applyPause   = time.Second
)

// Validate reports what is wrong with the flags. The flag parser calls it.
func (c *TopicsApplyCmd) Validate() error { return c.Kafka.Check() }

// Help returns the text that kong prints below the flags.
func (c *TopicsApplyCmd) Help() string {
	return "The user of the command must be allowed to create topics and to Alter the cluster. What is there stays " +
		"as it is: \"ackwire doctor\" says what differs. While brokers start the command tries again, for three minutes " +
		"at most. Processes then run with --topics verify, and need no permission to make topics."
}

// Run implements the command.
func (c *TopicsApplyCmd) Run(env *Env) error {
	p, err := c.plan()
	if err != nil {
		return refused(err)
	}
	ctx, cancel := context.WithTimeout(env.Context, applyTimeout)
	defer cancel()
	said := ""
	for {
		err := c.try(ctx, env, p)
		switch {
		case err == nil:
			return nil
		case env.Context.Err() != nil:
			return errInterrupted
		case denied(err): // waiting does not mend that
			return refused(fmt.Errorf("%s may not make topics and permissions: it is no administrator: %w",
				cmp.Or(c.Kafka.Security.User, "this user"), err))
		case err.Error() != said:
			said = err.Error()
			fmt.Fprintf(env.Stderr, "not done yet: %s\n", clean(said))
		}
		if !pause.For(ctx, applyPause) {
			return refused(err)
		}
	}
}

// denied reports whether the user lacks a permission.
func denied(err error) bool {
	return errors.Is(err, kerr.TopicAuthorizationFailed) || errors.Is(err, kerr.ClusterAuthorizationFailed)
}

// try makes all once.
func (c *TopicsApplyCmd) try(ctx context.Context, env *Env, p plan.Plan) error {
	ctx, cancel := context.WithTimeout(ctx, applyTry)
	defer cancel()
	flags := KafkaFlags{Kafka: c.Kafka}
	cl, err := flags.client()
	if err != nil {
		return err
	}
	defer cl.Close()
	for _, t := range p.Made() {
		created, err := kafka.EnsureTopics(ctx, cl, kafka.Topic(t))
		if err != nil {
			return err
		}
		for _, name := range created {
			fmt.Fprintf(env.Stderr, "topic %s is made\n", clean(name))
		}
	}
	for _, g := range p.Grants() {
		if err := grant(ctx, cl, g); err != nil {
			return fmt.Errorf("permissions of %s: %w", g.Principal, err)
		}
		fmt.Fprintf(env.Stderr, "%s has the permissions of the %s\n", clean(g.Principal), clean(g.Name()))
	}
	return nil
}

// grant gives a principal its permissions.
func grant(ctx context.Context, cl *kgo.Client, g plan.Grant) error {
	req := kmsg.NewPtrCreateACLsRequest()
	for _, a := range g.ACLs {
		resource, err := kmsg.ParseACLResourceType(a.Resource)
		if err != nil {
			return err
		}
		for _, name := range a.Operations {
			operation, err := kmsg.ParseACLOperation(name)
			if err != nil {
				return err
			}
			c := kmsg.NewCreateACLsRequestCreation()
			c.ResourceType, c.ResourceName = resource, a.Name
			c.ResourcePatternType = kmsg.ACLResourcePatternTypeLiteral
			if a.Prefixed {
				c.ResourcePatternType = kmsg.ACLResourcePatternTypePrefixed
			}
			c.Principal, c.Host = g.Principal, "*"
			c.Operation, c.PermissionType = operation, kmsg.ACLPermissionTypeAllow
			req.Creations = append(req.Creations, c)
		}
	}
	resp, err := req.RequestWith(ctx, cl)
	if err != nil {
		return err
	}
	var problems []error
	for _, r := range resp.Results {
		problems = append(problems, kerr.ErrorForCode(r.ErrorCode))
	}
	return errors.Join(problems...)
}
