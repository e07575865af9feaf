package tracker

import (
	"log/slog"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"connectrpc.com/connect"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/ackwire/ackwire/internal/certs"
	"github.com/ackwire/ackwire/internal/certs/certstest"
	"github.com/ackwire/ackwire/internal/peers"
	"github.com/ackwire/ackwire/schemas/trackerpb"
	"github.com/ackwire/ackwire/schemas/trackerpb/trackerpbconnect"
)

// TestTheAPIAsksForTheSecret checks that no call of the API is served without the secret, even from this machine, and
// that calls with it are.
func TestTheAPIAsksForTheSecret(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		secret := filepath.Join(t.TempDir(), "secret")
		certstest.Write(t, secret, []byte(strings.Repeat("s", peers.MinKeyBytes)))
		w.internal = peers.Config{KeyFile: secret}
		i := w.start(8090, vfs.NewMem())
		defer i.stop()
		for _, procedure := range []string{
			trackerpbconnect.TrackerGetProcedure, trackerpbconnect.TrackerReserveProcedure,
			trackerpbconnect.TrackerUnreserveProcedure, trackerpbconnect.TrackerListProcedure,
			trackerpbconnect.TrackerStatsProcedure, trackerpbconnect.TrackerKeepTicketProcedure,
			trackerpbconnect.TrackerTakeTicketProcedure, trackerpbconnect.TrackerWatchProcedure, "/", "/anything",
		} {
			r, err := (&http.Client{Transport: i.http}).Post("http://localhost:8090"+procedure, "application/json",
				strings.NewReader("{}"))
			if err != nil {
				t.Fatal(err)
			}
			_ = r.Body.Close()
			if r.StatusCode != http.StatusUnauthorized || r.Header.Get(peers.RefusedHeader) == "" {
				t.Errorf("%s without the secret: %s", procedure, r.Status)
			}
		}
		client, err := w.internal.Client(certs.Env{Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		known := trackerpbconnect.NewTrackerClient(&http.Client{Transport: &peers.Transport{
			Client: client, HTTP: i.http, Told: func(*url.URL, error) {},
		}}, "http://localhost:8090")
		stats := &trackerpb.StatsRequest{Tenant: tenant, Partitions: allPartitions}
		if _, err := known.Stats(t.Context(), connect.NewRequest(stats)); err != nil {
			t.Error(err)
		}
	})
}

// TestTheAPIHeedsTheHost checks that a tracker without a secret serves no page whose own host name resolves to it.
func TestTheAPIHeedsTheHost(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		i := w.start(8090, vfs.NewMem())
		defer i.stop()
		ask := func(host string) int {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost,
				"http://localhost:8090"+trackerpbconnect.TrackerKeepTicketProcedure,
				strings.NewReader(`{"ticketId":"t","identity":"e30=","ttlMs":1000}`))
			if err != nil {
				t.Fatal(err)
			}
			r.Host = host
			r.Header.Set("Content-Type", "application/json")
			resp, err := (&http.Client{Transport: i.http}).Do(r)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			return resp.StatusCode
		}
		if status := ask("evil.example:8090"); status != http.StatusForbidden {
			t.Errorf("a page of another name: %d", status)
		}
		if status := ask("127.0.0.1:8090"); status != http.StatusOK {
			t.Errorf("a program: %d", status)
		}
	})
}
