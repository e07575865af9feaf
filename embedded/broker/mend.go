package broker

import (
	"errors"
	"fmt"
	"strings"

	"github.com/ackwire/ackwire/embedded/broker/audit"
	"github.com/ackwire/ackwire/schemas/topic"
)

// ErrLost means that the log has lost records that nothing else has. Nothing was changed: somebody
// must decide, see Repair.
var ErrLost = errors.New("the log has lost records, or files that it needs")

// mend puts the folder in order before the broker opens it.
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
		b.log.slog.Warn("what was damaged is kept", "folder", aside)
	}
	return nil
}

// examine reads the folder. What the tracker's store has is looked up when something is lost, or
// always: it takes a while.
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

// dispensable says why a topic's records may be lost.
func dispensable(name string) string {
	switch {
	case strings.HasSuffix(name, topic.Names{}.Control()):
		return "orders to workers, which are given again"
	case strings.HasSuffix(name, topic.Names{}.Dead()):
		return "dead letters, which no job waits for"
	}
	return ""
}

// undecided is ErrLost when somebody must decide.
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

// Repair examines the data folder, which the caller has locked, and mends it. say is given a line
// for each thing that was found. A loss is accepted only with acceptLoss: what is left is then all
// there is, and the offsets of what is lost are not given again.
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
	say("mended; what was damaged is kept in " + aside)
	return nil
}
