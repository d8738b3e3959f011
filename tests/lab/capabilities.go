package main

import (
	"fmt"

	"tailscale.com/tailcfg"
)

// Capabilities is how much of Funnel's conditions the tailnet grants to a node.
type Capabilities string

const (
	CapabilitiesNone  Capabilities = "none"  // neither certificates nor Funnel
	CapabilitiesHTTPS Capabilities = "https" // certificates, not Funnel
	CapabilitiesFull  Capabilities = "full"  // certificates, and Funnel on its three ports
)

func parseCapabilities(name string) (Capabilities, error) {
	switch c := Capabilities(name); c {
	case CapabilitiesNone, CapabilitiesHTTPS, CapabilitiesFull:
		return c, nil
	}
	return "", fmt.Errorf("capabilities are none, https or full, not %q", name)
}

// nodeCapabilities is the map that the control server sends to a node.
func (c Capabilities) nodeCapabilities() tailcfg.NodeCapMap {
	granted := tailcfg.NodeCapMap{
		// Looking for a captive portal asks servers on the internet.
		tailcfg.NodeAttrDisableCaptivePortalDetection: nil,
	}
	switch c {
	case CapabilitiesNone:
	case CapabilitiesHTTPS:
		granted[tailcfg.CapabilityHTTPS] = nil
	case CapabilitiesFull:
		granted[tailcfg.CapabilityHTTPS] = nil
		granted[tailcfg.NodeAttrFunnel] = nil
		granted[tailcfg.CapabilityFunnelPorts+"?ports=443,8443,10000"] = nil
	}
	return granted
}
