package main

import "github.com/grafana/grafana-foundation-sdk/go/units"

func runtime() *board {
	b := newBoard("runtime", "Kafka & Go", "Kafka traffic of every process, and the CPU, memory and file descriptors that it uses.",
		variable("job", "Job", processes), variable("instance", "Instance", processes+`{job=~"$job"}`))
	s := byInstance

	b.row("Kafka")
	add(b, 8, graph("Records by direction", "Records that a process produced to brokers and fetched from them.",
		units.OpsPerSecond,
		query{s.sum("ackwire_kafka_records_total", "job", "direction"), "{{job}} {{direction}}"}))
	add(b, 8, graph("Produce p50 and p99", "Time until brokers acknowledged records with acks=all; most of the time of an ack to a client.",
		units.Seconds,
		query{s.and(`request="produce"`).quantile(0.5, "ackwire_kafka_request_seconds", "job"), "p50 {{job}}"},
		query{s.and(`request="produce"`).quantile(0.99, "ackwire_kafka_request_seconds", "job"), "p99 {{job}}"}))
	add(b, 8, graph("Requests by kind", "Requests that brokers answered.", units.RequestsPerSecond,
		query{s.observed("ackwire_kafka_request_seconds", "request"), "{{request}}"}))
	add(b, 8, graph("Bytes", "Bytes on all connections to brokers.", units.BytesPerSecondSI,
		query{s.sum("ackwire_kafka_written_bytes_total", "job"), "written {{job}}"},
		query{s.sum("ackwire_kafka_read_bytes_total", "job"), "read {{job}}"}))
	add(b, 8, graph("Trouble with brokers",
		"Connections that failed or ended, requests that got no answer, and seconds that brokers asked to pause.",
		units.OpsPerSecond,
		query{s.and(`outcome="failed"`).sum("ackwire_kafka_connects_total"), "connects failed"},
		query{s.sum("ackwire_kafka_disconnects_total"), "disconnects"},
		query{s.sum("ackwire_kafka_requests_failed_total"), "requests failed"},
		query{s.sum("ackwire_kafka_throttled_seconds_total"), "throttled s/s"}))
	add(b, 8, graph("Records that Kafka did not confirm",
		"Events of workers, by type; a worker sends them again while its lease holds. Warnings are the embedded broker's.",
		units.OpsPerSecond,
		query{s.sum("ackwire_processor_produce_failures_total", "event"), "{{event}}"},
		query{s.sum("ackwire_processor_commit_failures_total"), "offset commits"},
		query{orZero(s.sum("ackwire_broker_warnings_total")), "broker warnings"}))

	b.row("Process")
	add(b, 8, graph("CPU by instance", "CPUs in use.", units.Short,
		query{s.sum("process_cpu_seconds_total", "job", "instance"), "{{job}} {{instance}}"}))
	add(b, 8, graph("Memory by instance", "Resident memory.", units.BytesIEC,
		query{"max by (job, instance) (" + s.of("process_resident_memory_bytes") + ")", "{{job}} {{instance}}"}))
	add(b, 8, graph("File descriptors by instance", "Share in use of those that the process may open. Each socket needs one.",
		units.PercentUnit,
		query{
			"max by (job, instance) (" + s.of("process_open_fds") + " / " + s.of("process_max_fds") + ")",
			"{{job}} {{instance}}",
		}))

	b.row("Go")
	add(b, 6, graph("Goroutines by instance", "One or two per socket; a number that only rises is a leak.", units.Short,
		query{"max by (job, instance) (" + s.of("go_goroutines") + ")", "{{job}} {{instance}}"}))
	add(b, 6, graph("Heap in use by instance", "Bytes in spans of the Go heap that are in use.", units.BytesIEC,
		query{"max by (job, instance) (" + s.of("go_memstats_heap_inuse_bytes") + ")", "{{job}} {{instance}}"}))
	add(b, 6, graph("Allocations by instance", "Bytes allocated per second.", units.BytesPerSecondSI,
		query{s.sum("go_memstats_alloc_bytes_total", "job", "instance"), "{{job}} {{instance}}"}))
	add(b, 6, graph("Longest GC pause by instance", "Longest pause of recent garbage collections.", units.Seconds,
		query{
			"max by (job, instance) (" + s.and(`quantile=~"1|1.0"`).of("go_gc_duration_seconds") + ")",
			"{{job}} {{instance}}",
		}))
	return b
}
