// SPDX-License-Identifier: GPL-3.0-or-later
// Copyright: meshops.istio contributors

// Package v1beta1 stands in for the API types of frr-k8s, which the Go module proxy does not serve. MetalLB compiles
// against them whatever it is used for. In layer 2 mode, the bed's, nothing here is ever called; the BGP modes that
// would send such an object do not work with it.
package v1beta1

import (
	"encoding/json"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

type DynamicASNMode string

type FRRConfiguration struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec FRRConfigurationSpec `json:"spec,omitempty"`
}

type FRRConfigurationSpec struct {
	BGP          BGPConfig
	NodeSelector metav1.LabelSelector
}

type BGPConfig struct {
	Routers     []Router
	BFDProfiles []BFDProfile
}

type Router struct {
	ASN       uint32
	ID        string
	VRF       string
	Neighbors []Neighbor
	Prefixes  []string
}

type Neighbor struct {
	ASN                    uint32
	DynamicASN             DynamicASNMode
	Address                string
	Interface              string
	Port                   *uint16
	Password               string
	PasswordSecret         SecretReference
	HoldTime               *metav1.Duration
	KeepaliveTime          *metav1.Duration
	ConnectTime            *metav1.Duration
	EBGPMultiHop           bool
	BFDProfile             string
	EnableGracefulRestart  bool
	ToAdvertise            Advertise
	DisableMP              bool
	DualStackAddressFamily bool
}

type SecretReference struct {
	Name      string
	Namespace string
}

type Advertise struct {
	Allowed                   AllowedOutPrefixes
	PrefixesWithLocalPref     []LocalPrefPrefixes
	PrefixesWithCommunity     []CommunityPrefixes
	PrefixesWithAsPathPrepend []AsPathPrependPrefixes
}

type AllowedOutPrefixes struct {
	Prefixes []string
}

type LocalPrefPrefixes struct {
	Prefixes  []string
	LocalPref uint32
}

type CommunityPrefixes struct {
	Prefixes  []string
	Community string
}

type AsPathPrependPrefixes struct {
	Prefixes      []string
	AsPathPrepend uint8
}

type BFDProfile struct {
	Name             string
	ReceiveInterval  *uint32
	TransmitInterval *uint32
	DetectMultiplier *uint32
	EchoInterval     *uint32
	EchoMode         *bool
	PassiveMode      *bool
	MinimumTTL       *uint32
}

func AddToScheme(*runtime.Scheme) error { return nil }

func (in *FRRConfigurationSpec) DeepCopyInto(out *FRRConfigurationSpec) {
	text, err := json.Marshal(in)
	if err == nil {
		err = json.Unmarshal(text, out)
	}
	if err != nil {
		panic(err)
	}
}

func (in *FRRConfiguration) DeepCopy() *FRRConfiguration {
	out := &FRRConfiguration{TypeMeta: in.TypeMeta}
	in.ObjectMeta.DeepCopyInto(&out.ObjectMeta)
	in.Spec.DeepCopyInto(&out.Spec)
	return out
}

func (in *FRRConfiguration) DeepCopyObject() runtime.Object { return in.DeepCopy() }
