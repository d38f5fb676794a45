package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

func version(s *fixture) error {
	var answer struct {
		Version string `json:"version"`
	}
	if err := s.get("/version", &answer, versionLimit); err != nil {
		return err
	}
	if answer.Version == "" {
		return errors.New("no version")
	}
	return nil
}

func apis(s *fixture) error {
	var routes []struct {
		Method  string `json:"method"`
		Path    string `json:"path"`
		MaxBody int64  `json:"max_body"`
		Timeout int64  `json:"timeout"`
	}
	if err := s.get("/v1/api", &routes, mib); err != nil {
		return err
	}
	if len(routes) < 22 {
		return fmt.Errorf("%d routes", len(routes))
	}
	return nil
}

// status decodes as strictly as the client in MinIO.
func status(s *fixture) error {
	var answer struct {
		Version     string  `json:"version"`
		OS          string  `json:"os"`
		Arch        string  `json:"arch"`
		UpTime      float64 `json:"uptime"`
		CPUs        int     `json:"num_cpu"`
		UsableCPUs  int     `json:"num_cpu_used"`
		HeapInUse   uint64  `json:"mem_heap_used"`
		StackInUse  uint64  `json:"mem_stack_used"`
		Latency     int64   `json:"keystore_latency"`
		Unreachable bool    `json:"keystore_unreachable"`
		Unavailable bool    `json:"keystore_unavailable"`
	}
	if err := s.get("/v1/status", &answer, mib); err != nil {
		return err
	}
	if answer.CPUs < 0 || answer.UsableCPUs < 0 {
		return errors.New("fewer than no CPUs")
	}
	if answer.Unreachable && !answer.Unavailable {
		return errors.New("unreachable and yet available")
	}
	return nil
}

func describe(s *fixture) error {
	key, err := s.key("k")
	if err != nil {
		return err
	}
	var answer struct {
		Name      string    `json:"name"`
		ID        string    `json:"id"`
		Algorithm *string   `json:"algorithm"`
		CreatedAt time.Time `json:"created_at"`
		CreatedBy string    `json:"created_by"`
	}
	if err := s.get(route("/v1/key/describe", key), &answer, mib); err != nil {
		return err
	}
	known := []string{"AES256", "AES256-GCM_SHA256", "ChaCha20", "XCHACHA20-POLY1305"}
	if answer.Algorithm != nil && !slices.Contains(known, *answer.Algorithm) {
		return fmt.Errorf("algorithm '%s'", *answer.Algorithm)
	}
	if answer.Name != key || answer.CreatedBy != s.who.identity || answer.CreatedAt.IsZero() {
		return fmt.Errorf("%+v", answer)
	}
	err = s.get(route("/v1/key/describe", s.prefix+"-none"), &answer, mib)
	return want(err, errKeyNotFound)
}

type rules map[string]struct{}

func policies(s *fixture) error {
	names, err := s.listAll("/v1/policy/list", "")
	if err != nil {
		return err
	}
	for _, name := range names {
		var described struct {
			CreatedAt time.Time `json:"created_at"`
			CreatedBy string    `json:"created_by"`
		}
		if err := s.get(route("/v1/policy/describe", name), &described, mib); err != nil {
			return err
		}
		var policy struct {
			Allow     rules     `json:"allow"`
			Deny      rules     `json:"deny"`
			CreatedAt time.Time `json:"created_at"`
			CreatedBy string    `json:"created_by"`
		}
		if err := s.get(route("/v1/policy/read", name), &policy, mib); err != nil {
			return err
		}
		if len(policy.Allow)+len(policy.Deny) == 0 || policy.CreatedAt.IsZero() {
			return fmt.Errorf("%s: %+v", name, policy)
		}
	}
	err = s.get(route("/v1/policy/read", "none"), &struct{}{}, mib)
	return want(err, apiError{404, "policy does not exist"})
}

type identityInfo struct {
	Policy    string    `json:"policy"`
	Admin     bool      `json:"admin"`
	TTL       string    `json:"ttl"`
	ExpiresAt time.Time `json:"expires_at"`
	CreatedAt time.Time `json:"created_at"`
	CreatedBy string    `json:"created_by"`
	Children  []string  `json:"children"`
}

func identities(s *fixture) error {
	var page struct {
		Identities []string `json:"identities"`
		ContinueAt string   `json:"continue_at"`
	}
	if err := s.list("/v1/identity/list", "*", &page); err != nil {
		return err
	}
	if !slices.Contains(page.Identities, s.who.identity) {
		return fmt.Errorf("%s is not among %v", s.who.identity, page.Identities)
	}
	for _, identity := range page.Identities {
		var info identityInfo
		if err := s.get(route("/v1/identity/describe", identity), &info, mib); err != nil {
			return err
		}
		if info.Admin == (info.Policy != "") {
			return fmt.Errorf("%s: %+v", identity, info)
		}
	}
	return nil
}

func self(s *fixture) error {
	var answer struct {
		identityInfo
		Identity string `json:"identity"`
		Allow    rules  `json:"allow"`
		Deny     rules  `json:"deny"`
	}
	if err := s.get("/v1/identity/self/describe", &answer, mib); err != nil {
		return err
	}
	if answer.Identity != s.who.identity || answer.CreatedAt.IsZero() {
		return fmt.Errorf("%+v", answer)
	}
	if !answer.Admin && (answer.Policy == "" || len(answer.Allow) == 0) {
		return fmt.Errorf("%+v", answer)
	}
	return nil
}

// metrics reads the text as the client of KES does: known families, any other may have one series.
func metrics(s *fixture) error {
	response, err := s.send(http.MethodGet, "/v1/metrics", nil, "")
	if err != nil {
		return err
	}
	defer response.Body.Close()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(io.LimitReader(response.Body, mib))
	if err != nil {
		return err
	}
	kinds := map[string]io_prometheus_client.MetricType{
		"kes_http_request_success":    io_prometheus_client.MetricType_COUNTER,
		"kes_http_request_error":      io_prometheus_client.MetricType_COUNTER,
		"kes_http_request_failure":    io_prometheus_client.MetricType_COUNTER,
		"kes_http_request_active":     io_prometheus_client.MetricType_GAUGE,
		"kes_http_response_time":      io_prometheus_client.MetricType_HISTOGRAM,
		"kes_log_audit_events":        io_prometheus_client.MetricType_COUNTER,
		"kes_log_error_events":        io_prometheus_client.MetricType_COUNTER,
		"kes_system_up_time":          io_prometheus_client.MetricType_GAUGE,
		"kes_system_num_cpu":          io_prometheus_client.MetricType_GAUGE,
		"kes_system_num_cpu_used":     io_prometheus_client.MetricType_GAUGE,
		"kes_system_num_threads":      io_prometheus_client.MetricType_GAUGE,
		"kes_system_mem_heap_used":    io_prometheus_client.MetricType_GAUGE,
		"kes_system_mem_heap_objects": io_prometheus_client.MetricType_GAUGE,
		"kes_system_mem_stack_used":   io_prometheus_client.MetricType_GAUGE,
	}
	for name, kind := range kinds {
		family, ok := families[name]
		if !ok {
			return fmt.Errorf("no family '%s'", name)
		}
		if family.GetType() != kind {
			return fmt.Errorf("'%s' is a %s", name, family.GetType())
		}
	}
	for name, family := range families {
		switch name {
		case "kes_http_request_success", "kes_http_request_error", "kes_http_request_failure":
		default:
			if len(family.GetMetric()) > 1 {
				return fmt.Errorf("'%s' has %d series", name, len(family.GetMetric()))
			}
		}
	}
	return nil
}

func auditLog(s *fixture) error {
	response, err := s.send(http.MethodGet, "/v1/log/audit", nil, "")
	if err != nil {
		return err
	}
	defer response.Body.Close()
	key, err := s.key("audited")
	if err != nil {
		return err
	}
	decoder := json.NewDecoder(response.Body)
	for {
		var event struct {
			Time    time.Time `json:"time"`
			Request struct {
				IP       string `json:"ip"`
				Path     string `json:"path"`
				Identity string `json:"identity"`
			} `json:"request"`
			Response struct {
				Code int           `json:"code"`
				Time time.Duration `json:"time"`
			} `json:"response"`
		}
		if err := decoder.Decode(&event); err != nil {
			return err
		}
		if event.Request.Path != "/v1/key/create/"+key {
			continue
		}
		fine := event.Request.Identity == s.who.identity && event.Request.IP != "" &&
			event.Response.Code == 200 && !event.Time.IsZero()
		if !fine {
			return fmt.Errorf("%+v", event)
		}
		return nil
	}
}

func errorLog(s *fixture) error {
	response, err := s.send(http.MethodGet, "/v1/log/error", nil, "")
	if err != nil {
		return err
	}
	defer response.Body.Close()
	err = s.get("/v1/key/describe/damaged", &struct{}{}, mib)
	if err := want(err, apiError{502, "failed to read key"}); err != nil {
		return err
	}
	var event struct {
		Message string `json:"message"`
	}
	if err := json.NewDecoder(response.Body).Decode(&event); err != nil {
		return err
	}
	if event.Message == "" {
		return errors.New("no message")
	}
	return nil
}
