package kafka

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ErrNoTransactions is returned for a cluster that has no transactions, or that refuses them to everybody.
var ErrNoTransactions = errors.New("the cluster has no transactions")

// probeTimeout is the transaction timeout of the producer that Transactions makes. It never begins a transaction.
const probeTimeout = 10 * time.Second

// Transactions asks whether the cluster has transactions, by making a producer with the transactional ID id. The error
// is ErrNoTransactions if it has none, and a *Denied if this process may not use the ID; after any other error it is
// not known.
func Transactions(ctx context.Context, cl *kgo.Client, id string) error {
	versions := kmsg.NewPtrApiVersionsRequest()
	versions.ClientSoftwareName, versions.ClientSoftwareVersion = "ackwire", "1"
	has, err := versions.RequestWith(ctx, cl)
	if err != nil {
		return fmt.Errorf("what the cluster supports: %w", err)
	}
	missing := map[kmsg.Key]bool{kmsg.InitProducerID: true, kmsg.AddPartitionsToTxn: true, kmsg.EndTxn: true}
	for _, k := range has.ApiKeys {
		delete(missing, kmsg.Key(k.ApiKey))
	}
	for k := range missing {
		return fmt.Errorf("%w: it does not know the request %s", ErrNoTransactions, k.Name())
	}
	req := kmsg.NewPtrInitProducerIDRequest()
	req.TransactionalID = &id
	req.TransactionTimeoutMillis = int32(probeTimeout.Milliseconds())
	req.ProducerID, req.ProducerEpoch = -1, -1
	resp, err := req.RequestWith(ctx, cl)
	if err == nil {
		err = kerr.ErrorForCode(resp.ErrorCode)
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, kerr.TransactionalIDAuthorizationFailed):
		return &Denied{Operation: "Write", Resource: "transactional-id", Name: id, cause: err}
	case errors.Is(err, kerr.InvalidRequest), errors.Is(err, kerr.UnsupportedVersion),
		errors.Is(err, kerr.PolicyViolation):
		return fmt.Errorf("%w: %w", ErrNoTransactions, err)
	}
	return fmt.Errorf("transactions are not usable: %w", err)
}
