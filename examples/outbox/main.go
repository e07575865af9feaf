// Outbox submits the jobs that a program has written into its database, exactly once each (transactional outbox).
package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	_ "github.com/ncruces/go-sqlite3/driver"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/schemas/code"
)

func main() {
	url := flag.String("url", "http://127.0.0.1:8080", "Ackwire's URL")
	token := flag.String("token", os.Getenv("ACKWIRE_TOKEN"), "bearer token; not needed on the same machine")
	file := flag.String("db", "shop.db", "database file")
	item := flag.String("order", "", "write an order of this item into the database, and exit")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *file, *item, *url, ackwire.WithToken(*token)); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, file, item, url string, opts ...ackwire.Option) error {
	db, err := open(ctx, file)
	if err != nil {
		return err
	}
	defer db.Close()
	if item != "" {
		return order(ctx, db, item)
	}
	client, err := ackwire.NewHTTP(url, opts...)
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	return relay(ctx, db, client)
}

// A row of outbox is a job to be submitted. It is waiting while it has neither a job ID nor the code of a refusal.
const schema = `
CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, item TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS outbox (
	key     TEXT PRIMARY KEY,
	type    TEXT NOT NULL,
	payload TEXT NOT NULL,
	job_id  TEXT,
	refused TEXT
);
CREATE INDEX IF NOT EXISTS outbox_waiting ON outbox (refused) WHERE job_id IS NULL AND refused IS NULL;`

func open(ctx context.Context, file string) (*sql.DB, error) {
	db, err := sql.Open("sqlite3", "file:"+file+"?_pragma=busy_timeout(5000)&_txlock=immediate")
	if err != nil {
		return nil, err
	}
	if _, err := db.ExecContext(ctx, schema); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// order writes an order and its job in one transaction, so that neither exists without the other.
func order(ctx context.Context, db *sql.DB, item string) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // after Commit it does nothing
	written, err := tx.ExecContext(ctx, `INSERT INTO orders (item) VALUES (?)`, item)
	if err != nil {
		return err
	}
	id, err := written.LastInsertId()
	if err != nil {
		return err
	}
	payload, err := json.Marshal(map[string]any{"order": id, "item": item})
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO outbox (key, type, payload) VALUES (?, 'demo.echo', ?)`,
		fmt.Sprintf("order-%d", id), string(payload))
	if err != nil {
		return err
	}
	return tx.Commit()
}

const (
	pollPause = time.Second
	batch     = 100
)

// relay submits the waiting rows until ctx ends. Several programs may do so at the same time: the idempotency keys
// ensure that there is one job per row.
func relay(ctx context.Context, db *sql.DB, client ackwire.Submitter) error {
	for {
		rows, err := waiting(ctx, db)
		for _, r := range rows {
			if err = submit(ctx, db, client, r); err != nil {
				break
			}
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			log.Print(err) // the other rows wait for the next round
		case len(rows) == batch:
			continue
		}
		select {
		case <-time.After(pollPause):
		case <-ctx.Done():
			return nil
		}
	}
}

type row struct{ key, jobType, payload string }

func waiting(ctx context.Context, db *sql.DB) (all []row, err error) {
	rows, err := db.QueryContext(ctx,
		`SELECT key, type, payload FROM outbox WHERE job_id IS NULL AND refused IS NULL ORDER BY rowid LIMIT ?`, batch)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var r row
		if err := rows.Scan(&r.key, &r.jobType, &r.payload); err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, rows.Err()
}

// submit submits a row's job and stores its ID. If the program ends between the two, its next start submits the row
// again and gets the same job.
func submit(ctx context.Context, db *sql.DB, client ackwire.Submitter, r row) error {
	job, err := client.Submit(ctx, r.jobType, json.RawMessage(r.payload), ackwire.Key(r.key), ackwire.NoWatch())
	if refused, ok := errors.AsType[*ackwire.Error](err); ok && slices.Contains(hopeless, refused.Code) {
		log.Printf("%s: %v", r.key, err)
		return note(ctx, db, r, "", refused.Code)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", r.key, err)
	}
	return note(ctx, db, r, job.ID, "")
}

// hopeless are the error codes of rows that would always be refused. Other errors, such as an expired token, have
// nothing to do with the row: it stays waiting.
var hopeless = []code.Code{
	code.InvalidFrame, code.ValidationFailed, code.UnknownJobType, code.PayloadTooLarge, code.IdempotencyKeyReused,
}

func note(ctx context.Context, db *sql.DB, r row, jobID string, refused code.Code) error {
	_, err := db.ExecContext(ctx, `UPDATE outbox SET job_id = nullif(?, ''), refused = nullif(?, '') WHERE key = ?`,
		jobID, string(refused), r.key)
	return err
}
