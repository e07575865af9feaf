package intake

// Intake takes in what clients ask for. It has no state of its own, and its methods may be called from any goroutine.
type Intake struct {
	Submits
	Orders
	Audit *Audit
}

// New returns an intake.
func New(cfg Config) *Intake {
	a := &Audit{kafka: cfg.Kafka, log: cfg.Log, metrics: cfg.Metrics}
	if cfg.Audit {
		a.topic = cfg.Names.Audit()
	}
	return &Intake{Submits: newSubmits(&cfg, a), Orders: Orders{cfg: &cfg, audit: a}, Audit: a}
}
