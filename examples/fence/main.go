// Fence is a worker that books entries in a database exactly once, even if several workers run the same job, one after
// another or at the same time.
package main

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"log"
	"os"
	"os/signal"
	"syscall"

	_ "github.com/ncruces/go-sqlite3/driver"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/processor"
)

// Entries is the payload: the entries to book, in this order.
type Entries []Entry

// Entry is an amount in an account.
type Entry struct {
	Account string `json:"account"`
	Cents   int64  `json:"cents"`
}

// Booked is the result.
type Booked struct {
	Entries int `json:"entries"`
}

// Book is a job type of examples/jobtypes.yaml.
var Book = ackwire.Type[Entries, Booked]("ledger.book")

func main() {
	broker := flag.String("kafka", "127.0.0.1:9092", "address of a Kafka broker")
	file := flag.String("db", "ledger.db", "database file")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, processor.Config{Brokers: []string{*broker}}, *file); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, cfg processor.Config, file string, opts ...processor.Option) error {
	l, err := open(ctx, file)
	if err != nil {
		return err
	}
	defer l.db.Close()
	w, err := processor.New(cfg, opts...)
	if err != nil {
		return err
	}
	processor.HandleType(w, Book, l.book)
	return w.Run(ctx)
}

// ledger is the database. Beside the entries it stores, for each job, which run may write and how many of the job's
// entries are booked.
type ledger struct{ db *sql.DB }

const schema = `
CREATE TABLE IF NOT EXISTS jobs (
	id       TEXT PRIMARY KEY,
	dispatch INTEGER NOT NULL,
	run      TEXT NOT NULL,
	booked   INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS entries (account TEXT NOT NULL, cents INTEGER NOT NULL);`

func open(ctx context.Context, file string) (*ledger, error) {
	db, err := sql.Open("sqlite3", "file:"+file+"?_pragma=busy_timeout(5000)&_txlock=immediate")
	if err != nil {
		return nil, err
	}
	if _, err := db.ExecContext(ctx, schema); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &ledger{db}, nil
}

// errFenced ends a run from which another run has taken over. If the worker was cut off from Kafka, the error has no
// effect; if this run still holds the job, the job's next attempt has a higher dispatch number and may write.
var errFenced = processor.WithCode("fenced", errors.New("another run of this job writes"))

// book is the handler. It continues after the last entry that an earlier run has booked.
func (l *ledger) book(ctx context.Context, job *processor.Job, in Entries) (Booked, error) {
	booked, err := l.take(ctx, job)
	if err != nil {
		return Booked{}, err
	}
	for _, e := range in[min(booked, len(in)):] {
		if err := l.add(ctx, job, e); err != nil {
			return Booked{}, err
		}
		booked++
		if err := job.Advance(processor.Progress{Current: int64(booked), Total: int64(len(in))}); err != nil {
			return Booked{}, err
		}
	}
	return Booked{Entries: booked}, nil
}

// take makes this run the only one that may write to the job's entries. It fails with errFenced if a run of a later
// dispatch, or another run of the same dispatch, is that one already. It returns how many entries are booked.
func (l *ledger) take(ctx context.Context, job *processor.Job) (booked int, err error) {
	err = l.db.QueryRowContext(ctx, `
INSERT INTO jobs (id, dispatch, run, booked) VALUES (?1, ?2, ?3, 0)
ON CONFLICT (id) DO UPDATE SET dispatch = ?2, run = ?3 WHERE dispatch < ?2
RETURNING booked`, job.ID, job.Dispatch, job.Run).Scan(&booked)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, errFenced
	}
	return booked, err
}

// add books one entry and counts it, in one transaction. It fails with errFenced, and changes nothing, if this run may
// no longer write.
func (l *ledger) add(ctx context.Context, job *processor.Job, e Entry) error {
	tx, err := l.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // after Commit it does nothing
	counted, err := tx.ExecContext(ctx, `UPDATE jobs SET booked = booked + 1 WHERE id = ? AND dispatch = ? AND run = ?`,
		job.ID, job.Dispatch, job.Run)
	if err != nil {
		return err
	}
	rows, err := counted.RowsAffected()
	if err != nil {
		return err
	}
	if rows == 0 {
		return errFenced
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO entries (account, cents) VALUES (?, ?)`, e.Account,
		e.Cents); err != nil {
		return err
	}
	return tx.Commit()
}
