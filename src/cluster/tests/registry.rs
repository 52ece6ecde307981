//! Membership without gossip: a table that all nodes of a test share, where the test can lie.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;

use crate::cluster::NodeId;
use crate::cluster::membership::{Advertised, Member, Membership};

#[derive(Clone, Default)]
pub(super) struct Registry(Arc<Mutex<Table>>);

#[derive(Default)]
struct Table {
    members: BTreeMap<NodeId, Member>,
    /// Who looks, whom at, and the address to say instead of the real one.
    detours: BTreeMap<(NodeId, NodeId), String>,
    /// Nodes whose heartbeats and news nobody sees.
    silent: BTreeSet<NodeId>,
}

impl Registry {
    pub(super) fn join(&self, id: NodeId, incarnation: u64, address: &str) -> Arc<dyn Membership> {
        let member = Member {
            id,
            incarnation,
            name: format!("node{}", id.as_u128() as u32),
            mesh_address: address.to_owned(),
            heartbeat: 1,
            advertised: Advertised::default(),
        };
        let mut table = self.0.lock();
        table.silent.remove(&id);
        table.members.insert(id, member);
        Arc::new(View { registry: self.clone(), id, incarnation })
    }

    /// From now on `viewer` dials `target` there.
    pub(super) fn detour(&self, viewer: NodeId, target: NodeId, address: String) {
        self.0.lock().detours.insert((viewer, target), address);
    }

    /// Nothing new is heard of the node, or again.
    pub(super) fn set_silent(&self, id: NodeId, silent: bool) {
        let mut table = self.0.lock();
        if silent {
            table.silent.insert(id);
        } else {
            table.silent.remove(&id);
        }
    }
}

/// One node's view of the table.
struct View {
    registry: Registry,
    id: NodeId,
    incarnation: u64,
}

#[async_trait]
impl Membership for View {
    async fn members(&self) -> Vec<Member> {
        let mut table = self.registry.0.lock();
        let Table { members, detours, silent } = &mut *table;
        if let Some(own) = members.get_mut(&self.id)
            && own.incarnation == self.incarnation
            && !silent.contains(&self.id)
        {
            own.heartbeat += 1;
        }
        let others = members.values().filter(|member| member.id != self.id);
        others
            .map(|member| {
                let mut member = member.clone();
                if let Some(address) = detours.get(&(self.id, member.id)) {
                    member.mesh_address.clone_from(address);
                }
                member
            })
            .collect()
    }

    async fn advertise(&self, advertised: Advertised) {
        let mut table = self.registry.0.lock();
        if table.silent.contains(&self.id) {
            return;
        }
        if let Some(own) = table.members.get_mut(&self.id)
            && own.incarnation == self.incarnation
        {
            own.advertised = advertised;
        }
    }

    async fn join(&self, _address: &str) -> bool {
        true // All are in the same table anyway.
    }

    async fn stop(&self) {
        if let Some(own) = self.registry.0.lock().members.get_mut(&self.id) {
            own.advertised.leaving = true;
        }
    }
}
