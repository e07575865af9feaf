// Webhook is an endpoint that receives webhooks: it verifies their signatures and acts on each only once, however often
// it is delivered.
package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	_ "github.com/ncruces/go-sqlite3/driver"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/ackwire/ackwire/schemas/job"
	"github.com/ackwire/ackwire/schemas/webhook"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:9000", "address of the endpoint")
	file := flag.String("db", "hooks.db", "database file")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", *listen)
	if err == nil {
		err = run(ctx, l, *file, strings.Fields(os.Getenv("SECRET")))
	}
	if err != nil {
		log.Fatal(err)
	}
}

// run serves the endpoint until ctx ends.
func run(ctx context.Context, l net.Listener, file string, secrets []string) error {
	e, err := open(ctx, file, secrets)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	defer e.db.Close()
	srv := &http.Server{Handler: e, ReadTimeout: 10 * time.Second}
	stopped := make(chan error, 1)
	stopWaiting := context.AfterFunc(ctx, func() { stopped <- srv.Shutdown(context.WithoutCancel(ctx)) })
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		stopWaiting()
		return err
	}
	return <-stopped
}

// endpoint handles webhooks.
type endpoint struct {
	db *sql.DB
	// verifiers has one verifier per secret: while a secret is rotated, the old and the new one are both valid.
	verifiers []*standardwebhooks.Webhook
}

const schema = `
CREATE TABLE IF NOT EXISTS deliveries (id TEXT PRIMARY KEY, taken_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP);
CREATE TABLE IF NOT EXISTS notices (job_id TEXT NOT NULL, state TEXT NOT NULL);`

func open(ctx context.Context, file string, secrets []string) (*endpoint, error) {
	if len(secrets) == 0 {
		return nil, errors.New("SECRET is not set: it must be what `ackwire webhook-secret` prints")
	}
	e := &endpoint{}
	for _, s := range secrets {
		v, err := standardwebhooks.NewWebhook(s)
		if err != nil {
			return nil, err
		}
		e.verifiers = append(e.verifiers, v)
	}
	db, err := sql.Open("sqlite3", "file:"+file+"?_pragma=busy_timeout(5000)&_txlock=immediate")
	if err != nil {
		return nil, err
	}
	if _, err := db.ExecContext(ctx, schema); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	e.db = db
	return e, nil
}

// maxBody bounds a webhook's body, in bytes. Messages are smaller: the result in them has at most 64 KiB, unless it is
// configured otherwise.
const maxBody = 1 << 20

// ServeHTTP answers 204 once the delivery is processed. After any answer but 2xx and 410 Ackwire delivers again, for
// hours.
func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		http.Error(w, "not read", http.StatusBadRequest)
		return
	}
	if !e.verified(body, r.Header) {
		http.Error(w, "not verified", http.StatusUnauthorized)
		return
	}
	var m webhook.Message
	var doc job.Document
	if err := errors.Join(json.Unmarshal(body, &m), json.Unmarshal(m.Data.Job, &doc)); err != nil {
		http.Error(w, "not a message", http.StatusBadRequest)
		return
	}
	if err := e.take(r.Context(), r.Header.Get(standardwebhooks.HeaderWebhookID), doc); err != nil {
		log.Printf("delivery %s: %v", r.Header.Get(standardwebhooks.HeaderWebhookID), err)
		http.Error(w, "try again", http.StatusInternalServerError)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// verified reports whether the body was signed with one of the secrets, within the last five minutes.
func (e *endpoint) verified(body []byte, header http.Header) bool {
	for _, v := range e.verifiers {
		if v.Verify(body, header) == nil {
			return true
		}
	}
	return false
}

// take acts on a delivery and stores its ID, in one transaction: a delivery whose ID is stored was processed before.
// For an effect outside the database, such as a mail, submit a job with the ID as its idempotency key.
func (e *endpoint) take(ctx context.Context, id string, doc job.Document) error {
	tx, err := e.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // after Commit it does nothing
	noted, err := tx.ExecContext(ctx, `INSERT INTO deliveries (id) VALUES (?) ON CONFLICT DO NOTHING`, id)
	if err != nil {
		return err
	}
	if rows, err := noted.RowsAffected(); err != nil || rows == 0 {
		return err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO notices (job_id, state) VALUES (?, ?)`, doc.JobID, string(doc.State))
	if err != nil {
		return err
	}
	return tx.Commit()
}
