package kafka

import (
	"context"
	"errors"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Pinger asks whether any broker answers. It asks all known brokers and the seeds at once, so that a broker
// that hangs does not use up the time, as it does in the library's own Ping.
type Pinger struct {
	client *kgo.Client
	asked  sync.WaitGroup
}

// NewPinger returns a pinger that uses the client cl.
func NewPinger(cl *kgo.Client) *Pinger { return &Pinger{client: cl} }

// Ping returns nil once any broker answers, and an error when none does or ctx ends. A request to a broker
// that hangs may go on after that: see Wait.
func (p *Pinger) Ping(ctx context.Context) error {
	brokers := append(p.client.DiscoveredBrokers(), p.client.SeedBrokers()...)
	answers := make(chan error, len(brokers))
	for _, b := range brokers {
		p.asked.Go(func() {
			req := kmsg.NewPtrMetadataRequest()
			req.Topics = []kmsg.MetadataRequestTopic{}
			_, err := b.Request(ctx, req)
			answers <- err
		})
	}
	var errs []error
	said := map[string]bool{} // a broker may be known twice: as a seed and by the cluster
	for range brokers {
		select {
		case err := <-answers:
			if err == nil {
				return nil
			}
			if why, ok := errors.AsType[*Problem](err); ok {
				err = why // without the library's guesses at the reason
			}
			if text := err.Error(); !said[text] {
				said[text] = true
				errs = append(errs, err)
			}
		case <-ctx.Done():
			return because(p.client, ctx.Err())
		}
	}
	return errors.Join(errs...)
}

// Wait returns when all requests have ended, also those for which Ping did not wait. It must be called before
// the client is closed.
func (p *Pinger) Wait() { p.asked.Wait() }
