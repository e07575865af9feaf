package kafka

import (
	"errors"
	"log/slog"
	"net"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/ackwire/ackwire/internal/service"
)

// A cluster that has transactions, one that refuses the coordinator, and a user that lacks the permission.
func TestTransactions(t *testing.T) {
	var refusal *kerr.Error
	inBubble(t, func(t *testing.T, w *world) {
		w.cluster.ControlKey(int16(kmsg.InitProducerID), func(r kmsg.Request) (kmsg.Response, error, bool) {
			w.cluster.KeepControl()
			if refusal == nil {
				return nil, nil, false
			}
			resp := r.ResponseKind().(*kmsg.InitProducerIDResponse)
			resp.ErrorCode = refusal.Code
			return resp, nil, true
		})
		if err := Transactions(t.Context(), w.cl, "id"); err != nil {
			t.Errorf("a cluster that has them: %v", err)
		}
		for _, e := range []*kerr.Error{kerr.InvalidRequest, kerr.UnsupportedVersion, kerr.PolicyViolation} {
			refusal = e
			if err := Transactions(t.Context(), w.cl, "id"); !errors.Is(err, ErrNoTransactions) {
				t.Errorf("%s: %v", e.Message, err)
			}
		}
		refusal = kerr.TransactionalIDAuthorizationFailed
		err := Transactions(t.Context(), w.cl, "id")
		if _, ok := errors.AsType[*Denied](err); !ok || !strings.Contains(err.Error(), "needs Write on transactional-id id") {
			t.Errorf("without the permission: %v", err)
		}
		refusal = kerr.UnknownServerError
		if err := Transactions(t.Context(), w.cl, "id"); err == nil || errors.Is(err, ErrNoTransactions) {
			t.Errorf("an error that may pass: %v", err)
		}
	})
}

// A cluster that does not list the requests of transactions has none.
func TestTransactionsThatAreUnknown(t *testing.T) {
	versions := kversion.Stable()
	versions.SetMaxKeyVersion(int16(kmsg.AddPartitionsToTxn), -1)
	network := &kfake.VirtualNetwork{}
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(9092), kfake.MaxVersions(versions),
		kfake.ListenFn(func(n, a string) (net.Listener, error) { return network.Listen(n, a) }))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	cl, err := Config{Brokers: []string{"localhost:9092"}}.NewClient(
		service.Env{Log: slog.New(slog.DiscardHandler), Dial: network.DialContext}, "test")
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	err = Transactions(t.Context(), cl, "id")
	if !errors.Is(err, ErrNoTransactions) || !strings.Contains(err.Error(), "AddPartitionsToTxn") {
		t.Errorf("%v", err)
	}
}
