package httpapi

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics counts what the server does. No label ever holds a key.
type metrics struct {
	requests *prometheus.CounterVec   // by route, method and code
	seconds  *prometheus.HistogramVec // by route and method
	// records of bulk loads, by what became of them
	stored, failed prometheus.Counter
}

func newMetrics(registry *prometheus.Registry, software string, inFlight func() int64) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "thunderdb_http_requests_total",
			Help: "Requests answered.",
		}, []string{"route", "method", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "thunderdb_http_request_duration_seconds",
			Help:    "Time from a request's headers to the end of its handler.",
			Buckets: prometheus.ExponentialBuckets(50e-6, 2.5, 14), // 50 µs to 7.5 s
		}, []string{"route", "method"}),
	}
	records := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "thunderdb_bulk_records_total",
		Help: "Records of bulk loads by what became of them: stored or failed.",
	}, []string{"result"})
	m.stored, m.failed = records.WithLabelValues("stored"), records.WithLabelValues("failed")
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "thunderdb_build_info",
		Help: "Always 1; the label is the version of the software.",
	}, []string{"version"})
	build.WithLabelValues(software).Set(1)
	running := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "thunderdb_http_requests_in_flight",
		Help: "Requests being answered.",
	}, func() float64 { return float64(inFlight()) })

	var failed []error
	for _, c := range []prometheus.Collector{m.requests, m.seconds, records, build, running} {
		failed = append(failed, registry.Register(c))
	}
	if err := errors.Join(failed...); err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	return m, nil
}

// endpoint is a route and a method, whose metrics are looked up once.
type endpoint struct {
	metrics       *metrics
	route, method string
	// seconds is there from its first use on, so that what is never asked for
	// makes no time series; the same goes for codes.
	seconds atomic.Pointer[prometheus.Observer]
	// codes holds the counter of a status below 600 at
	// (status/100)*codesPerClass + status%100.
	codes [6 * codesPerClass]atomic.Pointer[prometheus.Counter]
}

// codesPerClass is more than the last two digits of any status we use.
const codesPerClass = 32

// endpointMethods are the methods with metrics of their own; all others share
// "other", so that clients cannot make labels up.
var endpointMethods = []string{
	http.MethodGet, http.MethodHead, http.MethodPut, http.MethodPost, http.MethodDelete, "other",
}

// endpoints returns the endpoints of a route by method.
func (m *metrics) endpoints(route string) map[string]*endpoint {
	all := make(map[string]*endpoint)
	for _, method := range endpointMethods {
		all[method] = &endpoint{metrics: m, route: route, method: method}
	}
	return all
}

// pick returns the endpoint that counts a method.
func pick(all map[string]*endpoint, method string) *endpoint {
	if e := all[method]; e != nil {
		return e
	}
	return all["other"]
}

// observe counts one request.
func (e *endpoint) observe(status int, took time.Duration) {
	e.counter(status).Inc()
	e.histogram().Observe(took.Seconds())
}

func (e *endpoint) histogram() prometheus.Observer {
	if o := e.seconds.Load(); o != nil {
		return *o
	}
	o := e.metrics.seconds.WithLabelValues(e.route, e.method)
	e.seconds.Store(&o)
	return o
}

func (e *endpoint) counter(status int) prometheus.Counter {
	class, rest := status/100, status%100
	if class > 5 || rest >= codesPerClass {
		return e.metrics.requests.WithLabelValues(e.route, e.method, strconv.Itoa(status))
	}
	slot := &e.codes[class*codesPerClass+rest]
	if c := slot.Load(); c != nil {
		return *c
	}
	c := e.metrics.requests.WithLabelValues(e.route, e.method, strconv.Itoa(status))
	slot.Store(&c)
	return c
}
