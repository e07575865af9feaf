package kafka

import (
	"context"
	"errors"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Pinger asks whether any broker answers. It asks all of them at once, the seeds too: one that
// hangs must not use up the time of those that would answer, as it does in the library's own Ping.
type Pinger struct {
	client *kgo.Client
	asked  sync.WaitGroup
}

// NewPinger returns a pinger on a client.
func NewPinger(cl *kgo.Client) *Pinger { return &Pinger{client: cl} }

// Ping returns nil once any broker answers. It returns with ctx: a request to a broker that hangs
// may not, and goes on until the library gives it up.
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
	for range brokers {
		select {
		case err := <-answers:
			if err == nil {
				return nil
			}
			errs = append(errs, err)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return errors.Join(errs...)
}

// Wait returns when the requests have ended that nobody waits for any more.
func (p *Pinger) Wait() { p.asked.Wait() }
