package bench

import (
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
)

// Load is what brokers were asked: a sum, or for one job on average.
type Load struct {
	Name     string             `json:"name"`
	Requests map[string]float64 `json:"requests"` // by kind, as in ackwire_kafka_request_seconds
	Produced float64            `json:"recordsProduced"`
	Fetched  float64            `json:"recordsFetched"`
	Written  float64            `json:"bytesWritten"` // to brokers
	Read     float64            `json:"bytesRead"`    // from brokers
}

// total returns the requests of all kinds.
func (l Load) total() (n float64) {
	for _, v := range l.Requests {
		n += v
	}
	return n
}

// add adds n times m to l, number by number.
func (l *Load) add(m Load, n float64) {
	if l.Requests == nil {
		l.Requests = map[string]float64{}
	}
	for kind, v := range m.Requests {
		l.Requests[kind] += v * n
	}
	l.Produced += m.Produced * n
	l.Fetched += m.Fetched * n
	l.Written += m.Written * n
	l.Read += m.Read * n
}

// askedSoFar returns what the Kafka clients with these metrics have asked brokers since they began.
func askedSoFar(from prometheus.Gatherer) (Load, error) {
	l := Load{Requests: map[string]float64{}}
	families, err := from.Gather()
	if err != nil {
		return l, err
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			label := ""
			if pairs := m.GetLabel(); len(pairs) > 0 {
				label = pairs[0].GetValue()
			}
			value := m.GetCounter().GetValue()
			switch f.GetName() {
			case "ackwire_kafka_request_seconds":
				if n := m.GetHistogram().GetSampleCount(); n > 0 {
					l.Requests[label] = float64(n)
				}
			case "ackwire_kafka_records_total":
				if label == "produced" {
					l.Produced = value
				} else {
					l.Fetched = value
				}
			case "ackwire_kafka_written_bytes_total":
				l.Written = value
			case "ackwire_kafka_read_bytes_total":
				l.Read = value
			}
		}
	}
	return l, nil
}

// meter adds up what brokers were asked in several turns.
type meter struct {
	from prometheus.Gatherer
	sum  Load
	jobs int
}

// during runs a turn of so many jobs and adds what brokers were asked meanwhile.
func (m *meter) during(jobs int, turn func()) error {
	before, err := askedSoFar(m.from)
	if err != nil {
		return err
	}
	turn()
	after, err := askedSoFar(m.from)
	if err != nil {
		return err
	}
	m.jobs += jobs
	m.sum.add(after, 1)
	m.sum.add(before, -1)
	return nil
}

// perJob returns the averages.
func (m *meter) perJob(name string) Load {
	l := Load{Name: name}
	l.add(m.sum, 1/float64(max(m.jobs, 1)))
	maps.DeleteFunc(l.Requests, func(_ string, n float64) bool { return n == 0 })
	return l
}

// printLoads writes what brokers were asked for one job of the floor and for one of Ackwire.
func printLoads(w io.Writer, floor, ours Load) {
	kinds := maps.Clone(floor.Requests)
	maps.Copy(kinds, ours.Requests)
	fmt.Fprintf(w, "%-22s %14s %14s %7s\n", "asked of brokers", floor.Name, ours.Name, "ratio")
	row := func(name string, a, b float64) {
		fmt.Fprintf(w, "%-22s %14.2f %14.2f", name, a, b)
		if a > 0 {
			fmt.Fprintf(w, " %6.2fx", b/a)
		}
		fmt.Fprintln(w)
	}
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		row("  "+kind, floor.Requests[kind], ours.Requests[kind])
	}
	row("requests, all", floor.total(), ours.total())
	row("records produced", floor.Produced, ours.Produced)
	row("records fetched", floor.Fetched, ours.Fetched)
	row("bytes to brokers", floor.Written, ours.Written)
	row("bytes from brokers", floor.Read, ours.Read)
}
