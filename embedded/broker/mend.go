package broker

import (
	"errors"
	"fmt"
	"strings"

	"github.com/ackwire/ackwire/embedded/broker/audit"
	"github.com/ackwire/ackwire/schemas/topic"
)

// ErrLost is returned when the log has lost records that are needed and nothing else has. Nothing was changed then:
// an operator must decide, see Repair.
var ErrLost = errors.New("the log has lost records, or files that it needs")

// mend checks and repairs the folder before the broker opens it.
func (b *Broker) mend() error {
	report, err := examine(b.cfg, false)
	if err != nil {
		return err
	}
	if err := undecided(report, b.cfg.Data); err != nil {
		return err
	}
	for _, l := range report.Losses {
		b.log.warn("lost records", "loss", l.String())
	}
	for _, m := range report.Mends {
		b.log.warn("damaged file mended", "what", m)
	}
	aside, err := report.Mend()
	if err != nil {
		return fmt.Errorf("mend %s: %w", b.dir, err)
	}
	if aside != "" {
		b.log.slog.Warn("the damaged files are kept", "folder", aside)
	}
	return nil
}

// examine checks the folder. Only when records are lost, or with always, does it also read the tracker's store,
// which takes a while.
func examine(cfg Config, always bool) (*audit.Report, error) {
	cover := audit.Cover{Dispensable: dispensable}
	report, err := audit.Read(folder(cfg.Data), cover)
	if err == nil && cfg.Folded != nil && (always || len(report.Undecided()) > 0) {
		cover.Folded = cfg.Folded
		report, err = audit.Read(folder(cfg.Data), cover)
	}
	if err != nil {
		return nil, fmt.Errorf("examine %s: %w", folder(cfg.Data), err)
	}
	return report, nil
}

// dispensable returns why a topic's records are not needed; empty when they are.
func dispensable(name string) string {
	switch {
	case strings.HasSuffix(name, topic.Names{}.Control()):
		return "orders to workers, which trackers send again"
	case strings.HasSuffix(name, topic.Names{}.Dead()):
		return "dead letters, for which no job waits"
	case strings.HasSuffix(name, topic.Names{}.Streams()):
		return "pieces of jobs' streams, whose readers are told that they are gone"
	}
	return ""
}

// undecided returns ErrLost when an operator must decide, else nil.
func undecided(r *audit.Report, data string) error {
	lines := append([]string(nil), r.Fatal...)
	for _, l := range r.Undecided() {
		lines = append(lines, l.String())
	}
	switch {
	case len(lines) == 0:
		return nil
	case len(r.Fatal) > 0:
		return fmt.Errorf("%w: %s. Restore %s from a backup", ErrLost, strings.Join(lines, "; "), data)
	}
	return fmt.Errorf("%w: %s. Restore %s from a backup, or go on without them: ackwire repair --data %s --accept-loss",
		ErrLost, strings.Join(lines, "; "), data, data)
}

// Repair checks the data folder, which the caller must have locked, and repairs it. It calls say with a line for
// each thing that it finds. It repairs a log that has lost records only with acceptLoss: the remaining records are
// then the whole log, and the offsets of the lost ones are not used again.
func Repair(cfg Config, acceptLoss bool, say func(string)) error {
	report, err := examine(cfg, true)
	if err != nil {
		return err
	}
	for _, m := range report.Mends {
		say("damaged: " + m)
	}
	for _, l := range report.Losses {
		say("lost: " + l.String())
	}
	if err := undecided(report, cfg.Data); err != nil && (!acceptLoss || len(report.Fatal) > 0) {
		return err
	}
	if report.Clean() {
		say("nothing is damaged")
		return nil
	}
	aside, err := report.Mend()
	if err != nil {
		return err
	}
	say("mended; the damaged files are kept in " + aside)
	return nil
}
