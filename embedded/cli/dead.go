package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/ackwire/ackwire"
	"github.com/ackwire/ackwire/internal/kafka"
	"github.com/ackwire/ackwire/internal/service"
	"github.com/ackwire/ackwire/schemas/frame"
	"github.com/ackwire/ackwire/schemas/plainjson"
	"github.com/ackwire/ackwire/schemas/topic"
	"github.com/ackwire/ackwire/tracker/dead"
)

// DeadCmd has the commands for dead letters: records that a service could not read and set aside.
type DeadCmd struct {
	List    DeadListCmd    `cmd:"" help:"List the dead letters."`
	Show    DeadShowCmd    `cmd:"" help:"Print one dead letter with its value and headers."`
	Requeue DeadRequeueCmd `cmd:"" help:"Try a dead letter again, after its cause was fixed: a job whose request it is gets a new request; any other record is written to its topic again."`
}

// KafkaFlags are the flags of commands that connect to Kafka and not to a gateway.
type KafkaFlags struct {
	Kafka       kafka.Config `embed:""`
	TopicPrefix string       `help:"Prefix of all topics." default:"ackwire."`
	JSON        bool         `name:"json" help:"Print one JSON document per line on stdout and nothing else."`
}

// Validate reports what is wrong with the flags. The flag parser calls it.
func (f *KafkaFlags) Validate() error { return f.Kafka.Check() }

const deadTimeout = 30 * time.Second

// client returns a client of the brokers. It fails at once if they refuse it, which other requests would repeat.
func (f *KafkaFlags) client(opts ...kgo.Opt) (*kgo.Client, error) {
	env := service.OS(slog.New(slog.DiscardHandler)) // errors tell all that it would log
	cl, err := f.Kafka.NewAdminClient(env, append([]kgo.Opt{kgo.RetryTimeout(deadTimeout / 2),
		kgo.RecordDeliveryTimeout(deadTimeout / 2)}, opts...)...)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), f.Kafka.Bounds().Delivery)
	defer cancel()
	pinger := kafka.NewPinger(cl)
	err = pinger.Ping(ctx)
	pinger.Wait()
	if kafka.Trouble(cl) != nil {
		cl.Close()
		return nil, err
	}
	return cl, nil
}

// denied returns err, or which permissions the user lacks if Kafka has refused a request because of that.
func (f *KafkaFlags) denied(ctx context.Context, err error) error {
	if !errors.Is(err, kerr.TopicAuthorizationFailed) && !errors.Is(err, kerr.GroupAuthorizationFailed) {
		return err
	}
	cl, wrong := f.client()
	if wrong != nil {
		return err
	}
	defer cl.Close()
	names := topic.Names{Prefix: f.TopicPrefix}
	var needed []kafka.Permission
	for _, a := range names.ACLs(topic.RoleCommands, nil) {
		needed = append(needed, kafka.Permission(a))
	}
	var topics []string
	for _, s := range names.Specs(nil, 1) {
		topics = append(topics, s.Name)
	}
	missing, wrong := kafka.Missing(ctx, cl, topics, needed...)
	if wrong != nil || len(missing) == 0 {
		return err
	}
	return kafka.Denials(missing)
}

// letter is a dead letter as it is printed.
type letter struct {
	ID        string            `json:"id"` // PARTITION/OFFSET
	At        time.Time         `json:"at"`
	Reason    string            `json:"reason"`
	Detail    string            `json:"detail"`
	By        string            `json:"by"`
	Topic     string            `json:"topic"`
	Partition string            `json:"partition"`
	Offset    string            `json:"offset"`
	Key       string            `json:"key,omitempty"`
	Headers   map[string]string `json:"headers,omitempty"`
	Value     string            `json:"value,omitempty"`
	dead      dead.Letter
}

func newLetter(r *kgo.Record) letter {
	d := dead.Parse(r)
	l := letter{
		ID: fmt.Sprintf("%d/%d", d.Partition, d.Offset), At: d.At, Reason: printable([]byte(d.Reason)),
		Detail: printable([]byte(d.Detail)), By: printable([]byte(d.By)), Topic: printable([]byte(d.Topic)),
		Partition: printable([]byte(d.SourcePartition)), Offset: printable([]byte(d.SourceOffset)),
		Key:   printable(d.Key),
		Value: printable(d.Value), Headers: map[string]string{}, dead: d,
	}
	for _, h := range d.Headers {
		l.Headers[h.Key] = printable(h.Value)
	}
	return l
}

// printable returns b as text, quoted if it is not valid UTF-8.
func printable(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	return strconv.QuoteToASCII(string(b))
}

// each calls visit for every dead letter that exists now, until visit returns false.
func (f *KafkaFlags) each(ctx context.Context, visit func(letter) bool) error {
	names := topic.Names{Prefix: f.TopicPrefix}
	return f.records(ctx, names.Dead(), func(r *kgo.Record) bool { return visit(newLetter(r)) })
}

// records calls visit for every record of a topic that exists now, until visit returns false.
func (f *KafkaFlags) records(ctx context.Context, name string, visit func(*kgo.Record) bool) error {
	cl, err := f.client()
	if err != nil {
		return refused(err)
	}
	defer cl.Close()
	admin := kadm.NewClient(cl)
	starts, err := admin.ListStartOffsets(ctx, name)
	if err == nil {
		err = starts.Error()
	}
	if err != nil {
		return refused(f.denied(ctx, fmt.Errorf("read %s: %w", name, err)))
	}
	ends, err := admin.ListEndOffsets(ctx, name)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return refused(fmt.Errorf("read %s: %w", name, err))
	}
	left := map[int32]int64{} // end offsets of the partitions that are not read to their end
	ends.Each(func(o kadm.ListedOffset) {
		if start, ok := starts.Lookup(name, o.Partition); ok && start.Offset < o.Offset {
			left[o.Partition] = o.Offset
		}
	})
	cl.AddConsumePartitions(map[string]map[int32]kgo.Offset{name: consumeFrom(left)})
	for len(left) > 0 {
		fetches := cl.PollFetches(ctx)
		if err := errors.Join(fetches.Err(), ctx.Err()); err != nil {
			return refused(f.denied(ctx, fmt.Errorf("read %s: %w", name, err)))
		}
		for r := range fetches.RecordsAll() {
			end, reading := left[r.Partition]
			if !reading {
				continue
			}
			if r.Offset < end && !visit(r) {
				return nil
			}
			if r.Offset+1 >= end {
				delete(left, r.Partition)
			}
		}
	}
	return nil
}

func consumeFrom(partitions map[int32]int64) map[int32]kgo.Offset {
	from := map[int32]kgo.Offset{}
	for p := range partitions {
		from[p] = kgo.NewOffset().AtStart()
	}
	return from
}

// find returns the dead letter with an ID.
func (f *KafkaFlags) find(ctx context.Context, id string) (found letter, err error) {
	err = f.each(ctx, func(l letter) bool {
		if l.ID == id {
			found = l
		}
		return found.ID == ""
	})
	if err == nil && found.ID == "" {
		err = refused(fmt.Errorf("there is no dead letter %s", id))
	}
	return found, err
}

// DeadListCmd lists dead letters.
type DeadListCmd struct {
	EitherFlags `embed:""`
	Limit       *int `help:"Print at most this many; by default 50 of a gateway, and all of Kafka." placeholder:"N" xor:"much"`
	All         bool `help:"Print all." xor:"much"`
}

// Help returns the text that kong prints below the flags.
func (c *DeadListCmd) Help() string {
	return eitherHelp + "A gateway lists the newest first, without what the records hold; from Kafka the oldest come " +
		"first. " + queryHelp
}

// Run implements the command.
func (c *DeadListCmd) Run(env *Env) error {
	most := limit{most: c.Limit, all: c.All}
	if err := most.check(); err != nil {
		return err
	}
	if !c.direct {
		return c.ask(env, most)
	}
	ctx, cancel := context.WithTimeout(env.Context, deadTimeout)
	defer cancel()
	most.all = most.all || most.most == nil
	printed := 0
	return c.kafka().each(ctx, func(l letter) bool {
		if c.JSON {
			b, _ := plainjson.Marshal(l) // strings and times always marshal
			fmt.Fprintf(env.Stdout, "%s\n", harmless(b))
		} else {
			deadLine(env, frame.DeadLetter{ID: l.ID, At: l.At, Reason: l.Reason, Detail: l.Detail, Topic: l.Topic,
				Partition: l.Partition, Offset: l.Offset})
		}
		printed++
		return most.left(printed) > 0
	})
}

// ask lists the dead letters of a gateway.
func (c *DeadListCmd) ask(env *Env, most limit) error {
	printed, cursor := 0, ""
	for {
		page, err := patiently(env, &c.Flags, func(ctx context.Context, api *ackwire.HTTPClient) (frame.DeadLetters, error) {
			return api.DeadLetters(ctx, min(frame.MaxDeadLimit, most.left(printed)), cursor)
		})
		if err != nil {
			return c.queryError(env, err)
		}
		for _, l := range page.Letters {
			if !c.JSON {
				deadLine(env, l)
			} else if err := c.print(env, l); err != nil {
				return err
			}
		}
		printed += len(page.Letters)
		cursor = page.NextCursor
		if cursor == "" || most.left(printed) <= 0 {
			break
		}
	}
	switch {
	case cursor != "":
		fmt.Fprintln(env.Stderr, "there are more: --limit or --all prints them")
	case printed == 0:
		fmt.Fprintln(env.Stderr, "no dead letters")
	}
	return nil
}

// deadLine prints a dead letter in one line.
func deadLine(env *Env, l frame.DeadLetter) {
	fmt.Fprintf(env.Stdout, "%-8s %s  %-16s %s/%s/%s  %s\n", clean(l.ID), l.At.Format(time.RFC3339), clean(l.Reason),
		clean(l.Topic), clean(l.Partition), clean(l.Offset), clip(clean(l.Detail), maxLineChars))
}

// DeadShowCmd prints one dead letter.
type DeadShowCmd struct {
	EitherFlags `embed:""`
	ID          string `arg:"" name:"id" help:"The dead letter's ID, as list prints it: PARTITION-OFFSET or PARTITION/OFFSET."`
}

// Help returns the text that kong prints below the flags.
func (c *DeadShowCmd) Help() string {
	return eitherHelp + "A gateway shows key, headers and value to tokens that have the permission payloads, too. " +
		queryHelp
}

// Run implements the command.
func (c *DeadShowCmd) Run(env *Env) error {
	if !c.direct {
		return c.ask(env)
	}
	ctx, cancel := context.WithTimeout(env.Context, deadTimeout)
	defer cancel()
	l, err := c.kafka().find(ctx, kafkaID(c.ID))
	if err != nil {
		return err
	}
	b, _ := plainjson.Marshal(l)
	return c.show(env, b)
}

// ask prints a dead letter of a gateway.
func (c *DeadShowCmd) ask(env *Env) error {
	record, err := query(env, &c.Flags, func(ctx context.Context, api *ackwire.HTTPClient) (frame.DeadRecord, error) {
		return api.DeadLetter(ctx, httpID(c.ID))
	})
	if err != nil {
		return c.queryError(env, err)
	}
	b, err := plainjson.Marshal(record)
	if err != nil {
		return refused(err)
	}
	if record.Withheld {
		fmt.Fprintln(env.Stderr, "key, headers and value are withheld: the token needs the permission payloads, too")
	}
	return c.show(env, b)
}

func (c *DeadShowCmd) show(env *Env, b []byte) error {
	if c.JSON {
		fmt.Fprintf(env.Stdout, "%s\n", harmless(b))
		return nil
	}
	_, _ = env.Stdout.Write(pretty(b))
	return nil
}

// A dead letter's ID is its partition and offset, with a slash where Kafka is read, and with a hyphen over HTTP, where
// it stands in a path. Commands take both.

func kafkaID(id string) string { return strings.Replace(id, "-", "/", 1) }

func httpID(id string) string { return strings.Replace(id, "/", "-", 1) }
