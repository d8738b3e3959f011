package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
)

// newAdmin returns the endpoints by which a test plays the tailnet's
// administrator and the weather on the public side.
//
//	GET  /nodes                             every node that ever signed in
//	POST /approve?link=URL                  signs in whoever waits on the link
//	POST /machines/require?required=BOOL    new nodes wait for an administrator
//	POST /machines/approve?node=NAME        lets such a node in
//	POST /capabilities?node=NAME&set=WHICH  none, https or full; no node: new ones
//	POST /feature?wait=BOOL                 whether a feature query asks to wait
//	POST /expire?node=NAME                  ends the validity of a node's key
//	POST /ingress?open=BOOL                 lets visitors in, or not
//	POST /ingress/reset                     breaks off every visitor's connection
func newAdmin(control *Control, ingress *Ingress) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /nodes", func(w http.ResponseWriter, r *http.Request) {
		answer(w, listNodes(control))
	})
	mux.HandleFunc("POST /approve", func(w http.ResponseWriter, r *http.Request) {
		if !control.Approve(r.FormValue("link")) {
			http.Error(w, "nobody waits on this link", http.StatusNotFound)
			return
		}
		answer(w, struct{}{})
	})
	mux.HandleFunc("POST /machines/require", onBool("required", control.RequireMachineApproval))
	mux.HandleFunc("POST /machines/approve", onNode(control.ApproveMachine))
	mux.HandleFunc("POST /capabilities", func(w http.ResponseWriter, r *http.Request) {
		capabilities, err := parseCapabilities(r.FormValue("set"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		control.Grant(r.FormValue("node"), capabilities)
		answer(w, struct{}{})
	})
	mux.HandleFunc("POST /feature", onBool("wait", control.SetFeatureWaits))
	mux.HandleFunc("POST /expire", onNode(control.Expire))
	mux.HandleFunc("POST /ingress", onBool("open", func(open bool) { ingress.SetClosed(!open) }))
	mux.HandleFunc("POST /ingress/reset", func(w http.ResponseWriter, r *http.Request) {
		answer(w, map[string]int{"reset": ingress.Reset()})
	})
	return mux
}

// NodeSummary is what GET /nodes says of a node.
type NodeSummary struct {
	Name           string       `json:"name"`
	Host           string       `json:"host"`
	Address        string       `json:"address"`
	Authorized     bool         `json:"authorized"`
	Expired        bool         `json:"expired"`
	Capabilities   Capabilities `json:"capabilities"`
	IngressEnabled bool         `json:"ingressEnabled"` // the node asks for public DNS and lets visitors in
	WireIngress    bool         `json:"wireIngress"`    // the node asks for public DNS alone
}

func listNodes(control *Control) []NodeSummary {
	summaries := []NodeSummary{}
	for _, node := range control.Nodes() {
		name := nodeName(node)
		summaries = append(summaries, NodeSummary{
			Name:           name,
			Host:           name + "." + domain,
			Address:        node.Addresses[0].Addr().String(),
			Authorized:     node.MachineAuthorized,
			Expired:        !node.KeyExpiry.IsZero(),
			Capabilities:   control.capabilitiesOf(name),
			IngressEnabled: node.Hostinfo.Valid() && node.Hostinfo.IngressEnabled(),
			WireIngress:    node.Hostinfo.Valid() && node.Hostinfo.WireIngress(),
		})
	}
	return summaries
}

func onNode(act func(name string) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := act(r.FormValue("node")); err != nil {
			http.Error(w, err.Error(), http.StatusNotFound)
			return
		}
		answer(w, struct{}{})
	}
}

func onBool(field string, act func(bool)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		value, err := strconv.ParseBool(r.FormValue(field))
		if err != nil {
			http.Error(w, fmt.Sprintf("%s is true or false", field), http.StatusBadRequest)
			return
		}
		act(value)
		answer(w, struct{}{})
	}
}

func answer(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(value)
}
