// Command ackwire runs all of Ackwire in one process, and has the client commands for any Ackwire.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/ackwire/ackwire/embedded/broker"
	"github.com/ackwire/ackwire/embedded/cli"
	"github.com/ackwire/ackwire/embedded/internal/serve"
	"github.com/ackwire/ackwire/gateway"
	"github.com/ackwire/ackwire/internal/command"
	"github.com/ackwire/ackwire/internal/command/export"
	"github.com/ackwire/ackwire/internal/keyfile"
	"github.com/ackwire/ackwire/internal/private"
	"github.com/ackwire/ackwire/internal/service"
	"github.com/ackwire/ackwire/schemas/webhook"
)

type commands struct {
	command.ConfigFile

	Serve         serveCmd          `cmd:"" help:"Run everything in this process, on the embedded broker."`
	Broker        brokerCmd         `cmd:"" help:"Run the embedded broker alone, for several processes on one machine."`
	Repair        repairCmd         `cmd:"" help:"Check the data folder of a stopped 'ackwire serve' for damage, and repair it."`
	Token         tokenCmd          `cmd:"" help:"Print a token signed with the data folder's key."`
	Grant         cli.GrantCmd      `cmd:"" help:"Print a grant: a token that opens some jobs only."`
	Keys          keysCmd           `cmd:"" help:"Create the keys that the processes of a deployment share. Existing keys are kept."`
	Submit        cli.SubmitCmd     `cmd:"" help:"Submit a job and watch it."`
	Watch         cli.WatchCmd      `cmd:"" help:"Watch a job until it has ended."`
	Stream        cli.StreamCmd     `cmd:"" help:"Print what a job writes to one of its streams, to the end."`
	Logs          cli.LogsCmd       `cmd:"" help:"Print a job's log, to the end."`
	Get           cli.GetCmd        `cmd:"" help:"Print a job's document."`
	List          cli.ListCmd       `cmd:"" help:"Print jobs, newest first."`
	Stats         cli.StatsCmd      `cmd:"" help:"Count jobs, and show each lane's workers and waiting jobs."`
	Why           cli.WhyCmd        `cmd:"" help:"Explain what a job waits for."`
	Activity      cli.ActivityCmd   `cmd:"" help:"Count what happened to jobs in the last hour, by lane and minute."`
	Workers       cli.WorkersCmd    `cmd:"" help:"List the workers with their lanes, and what each holds."`
	System        cli.SystemCmd     `cmd:"" help:"List gateways and trackers, and tell of partitions without one."`
	History       cli.HistoryCmd    `cmd:"" help:"Print a job's events, with what became of each."`
	Payload       cli.PayloadCmd    `cmd:"" help:"Print what was submitted as a job's payload."`
	Deliveries    cli.DeliveriesCmd `cmd:"" help:"List a job's webhooks with their states."`
	Webhooks      cli.WebhooksCmd   `cmd:"" help:"List the endpoints of webhooks that are paused or failing, and send failed webhooks again."`
	WebhookSecret webhookSecretCmd  `cmd:"" help:"Print the secrets that sign a tenant's webhooks."`
	Result        cli.ResultCmd     `cmd:"" help:"Download a job's result."`
	Cancel        cli.CancelCmd     `cmd:"" help:"Cancel a job."`
	Bulk          cli.BulkCmd       `cmd:"" help:"Retry, cancel or erase all jobs that match a filter."`
	Erase         cli.EraseCmd      `cmd:"" help:"Remove ended jobs, their payloads and results."`
	Audit         cli.AuditCmd      `cmd:"" help:"Print who made grants, ordered others' jobs, read what others submitted, and erased jobs."`
	Dead          cli.DeadCmd       `cmd:"" help:"List, print and requeue dead letters: records that a service could not read."`
	Doctor        cli.DoctorCmd     `cmd:"" help:"Examine a Kafka: say what is missing of topics, permissions and versions, and which commands mend it."`
	Topics        cli.TopicsCmd     `cmd:"" help:"Print which topics and permissions Ackwire needs in Kafka, and add partitions."`
	Retry         cli.RetryCmd      `cmd:"" help:"Run an ended job again, under its ID and with its payload."`
	Types         cli.TypesCmd      `cmd:"" help:"Write the types of job types for programs in TypeScript."`
}

type serveCmd struct {
	command.Logging `embed:""`
	serve.Settings  `embed:""`
	Health          command.HealthFlag `help:"Ask whether the process at ops-listen is ready, and exit with 0 if it is, else with 1." env:"-"`
	Traces          export.Config      `embed:""`
}

// Run implements the command.
func (c *serveCmd) Run() error {
	if len(c.Handlers.Type) > 0 {
		command.AsInit() // handlers are commands, which may leave orphaned processes
	}
	ctx, cancel := command.Signalled()
	defer cancel()
	env := service.OS(c.Logger(os.Stderr))
	flush, err := c.Traces.Start("ackwire", &env)
	if err != nil {
		return err
	}
	defer flush()
	private.Files()
	err = serve.Run(ctx, c.Settings, env, func(e *serve.System) {
		go announce(ctx, c.Settings, e)
	})
	return oneLine(err)
}

// announce prints the addresses and commands to try, once all services are ready.
func announce(ctx context.Context, cfg serve.Settings, e *serve.System) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for e.Ready() != nil {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
	advice := fmt.Sprintf("All services run in this process, on the Kafka at %s.", e.KafkaAddr())
	if e.OnOwnBroker() {
		advice = fmt.Sprintf("The embedded broker is for one machine: one copy of the log, which %s.\n"+
			"To use a real Kafka, add --kafka HOST:PORT, or run gateway, tracker and processor with it.", survives(cfg))
	}
	fmt.Printf(`
Ackwire is ready.

  clients   %s   (WebSocket: /v1/ws)
%s  ops       http://%s   (/metrics /healthz /readyz /startupz)
  Kafka     %s
  data      %s

  Try:      %s
            kcat -b %s -t %sstatus -C

%s

`, e.URL(), consoleLine(e.ConsoleURL()), e.OpsAddr(), e.KafkaAddr(), cfg.Broker.Data, firstJob(cfg), e.KafkaAddr(), cfg.Gateway.TopicPrefix, advice)
}

// consoleLine returns the line that says where the console is; empty if there is none.
func consoleLine(url string) string {
	if url == "" {
		return ""
	}
	return "  console   " + url + "\n"
}

// firstJob returns a command that submits a job of a type that exists.
func firstJob(cfg serve.Settings) string {
	if cfg.Gateway.JobTypes == "" {
		return `bin/ackwire submit report.generate '{"reportType":"sales","from":"2026-01-01","to":"2026-01-31"}'`
	}
	types, err := gateway.TypesOf(cfg.Gateway.JobTypes)
	if err != nil || len(types) == 0 {
		return "bin/ackwire list"
	}
	return "bin/ackwire submit " + types[0] + " PAYLOAD"
}

// survives returns which failures the embedded broker's log survives.
func survives(cfg serve.Settings) string {
	if cfg.Broker.Sync {
		return "survives a crash and power loss"
	}
	return "survives a crash of this process, not power loss (--kafka-sync does)"
}

type brokerCmd struct {
	command.Logging `embed:""`
	Data            string `help:"Folder of the broker's data." default:"data"`
	Listen          string `help:"Address of the broker." default:"127.0.0.1:9092"`
	Advertise       string `help:"host:port that Kafka clients are told to use; by default the address the broker listens at." placeholder:"HOST:PORT"`
	Sync            bool   `help:"Flush every write to the disk before it is acknowledged."`
}

// Run implements the command.
func (c *brokerCmd) Run() error {
	ctx, cancel := command.Signalled()
	defer cancel()
	env := service.OS(c.Logger(os.Stderr))
	private.Files()
	unlock, err := broker.Lock(c.Data)
	if err != nil {
		return oneLine(err)
	}
	b, err := broker.Start(ctx, broker.Config{Data: c.Data, Listen: c.Listen, Advertise: c.Advertise, Sync: c.Sync}, env)
	if err != nil {
		return oneLine(errors.Join(err, unlock()))
	}
	return oneLine(errors.Join(b.Run(ctx), unlock()))
}

type repairCmd struct {
	Data        string `help:"Data folder of the server." default:"data"`
	TopicPrefix string `help:"Prefix of all topics and consumer groups." default:"ackwire."`
	AcceptLoss  bool   `help:"Repair the log even though records are lost: afterwards jobs may be unknown, or fail because their payload is lost. Without it nothing is changed when records are lost."`
}

// Run implements the command.
func (c *repairCmd) Run() error {
	return oneLine(serve.Repair(c.Data, c.TopicPrefix, c.AcceptLoss, func(line string) { fmt.Println(line) }))
}

type tokenCmd struct {
	Data    string        `help:"Data folder of the server." default:"data"`
	Tenant  string        `help:"The tenant whose jobs the token gives access to." required:""`
	Subject string        `help:"The user within the tenant." default:"cli"`
	Permit  []string      `help:"What the token may do: names of submit, read, cancel (its own jobs), read:tenant, cancel:tenant (all jobs of the tenant), operate (all tenants), payloads and erase. Unless given: what default-permissions says." placeholder:"PERMISSION"`
	TTL     time.Duration `name:"ttl" help:"Time for which the token is valid." default:"1h"`
}

// Run implements the command.
func (c *tokenCmd) Run() error {
	key, err := serve.ExistingKey(c.Data)
	if err != nil {
		return err
	}
	token, err := gateway.SignToken(key, c.Tenant, c.Subject, c.TTL, c.Permit...)
	if err != nil {
		return err
	}
	fmt.Println(token)
	return nil
}

type keysCmd struct {
	Data  string   `help:"Folder of the keys." default:"data"`
	Roles []string `help:"Also make a folder below it for each role, with what the role needs to know the others and Kafka: certificates of an authority that is made, too, a password, and copies of keys. Roles: kafka, gateway, tracker, processor-LANE, cli, admin, metrics, lb." placeholder:"ROLE[=HOST+HOST]" sep:","`
}

// Run implements the command.
func (c *keysCmd) Run() error {
	files, err := serve.Keys(c.Data)
	if err != nil {
		return err
	}
	for _, f := range files {
		fmt.Printf("--%s %s\n", f.Setting, f.Name)
	}
	if len(c.Roles) > 0 {
		return serve.Roles(c.Data, c.Roles)
	}
	return nil
}

type webhookSecretCmd struct {
	Data    string `help:"Data folder of the server." default:"data"`
	KeyFile string `name:"webhook-key-file" help:"File with the key from which secrets are derived, a line of text or bytes; by default the keys of the data folder." placeholder:"FILE"`
	Tenant  string `help:"The tenant." required:""`
}

// Run implements the command.
func (c *webhookSecretCmd) Run() error {
	keys, err := c.keys()
	if err != nil {
		return err
	}
	for _, key := range keys {
		fmt.Println(webhook.Secret(key, c.Tenant))
	}
	return nil
}

func (c *webhookSecretCmd) keys() ([][]byte, error) {
	if c.KeyFile == "" {
		return serve.ExistingWebhookKeys(c.Data)
	}
	keys, err := keyfile.Read(c.KeyFile, webhook.MaxKeys)
	if err != nil {
		return nil, fmt.Errorf("webhook-key-file: %w", err)
	}
	if err := webhook.CheckKeys(keys); err != nil {
		return nil, fmt.Errorf("webhook-key-file %s: %w", c.KeyFile, err)
	}
	return keys, nil
}

// oneLine joins the problems of a joined error.
func oneLine(err error) error {
	if err == nil {
		return nil
	}
	return errors.New(strings.ReplaceAll(err.Error(), "\n", "; "))
}

func main() {
	var c commands
	env, stop := cli.System()
	defer stop()
	parser, err := kong.New(&c, append(command.Options("ackwire", "Asynchronous requests with synchronous feedback."),
		kong.Bind(env))...)
	if err != nil {
		os.Exit(cli.Report(env, err))
	}
	parsed, err := parser.Parse(os.Args[1:])
	if err != nil {
		os.Exit(cli.Report(env, err))
	}
	switch parsed.Selected().Name {
	case "serve", "broker":
		stop() // they have signals of their own
		if err := parsed.Run(); err != nil {
			os.Exit(command.Fail("ackwire", err))
		}
	default:
		os.Exit(cli.Report(env, parsed.Run()))
	}
}
