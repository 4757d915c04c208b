//! What the index tells of the slots, for a sketch.

use redb::ReadableTable;

use crate::limits::SLOTS_PER_SLAB;
use crate::store::places::Region;
use crate::store::sketch::plan;
use crate::store::{Sketch, SketchCell, StoreError, UseCount};

use super::{BLOCKS, Index, SLOTS, USES};

impl Index {
    /// Looks at up to `most` of all places.
    pub(in crate::store) fn sketch(&self, cells: usize, most: usize) -> Result<Sketch, StoreError> {
        let packs = self.packs()?;
        let packs = packs.iter().map(|pack| {
            let first = pack.first_slab * SLOTS_PER_SLAB;
            first..first + pack.blocks
        });
        let own = [Region::Native, Region::Legacy, Region::Mini, Region::Nano];
        let own = own.iter().map(|region| Ok(region.places().start..self.end(*region)?));
        let mut ranges = own.collect::<Result<Vec<_>, StoreError>>()?;
        ranges.extend(packs);
        let plan = plan(&ranges, cells, most);
        self.read(|transaction| {
            let (slots, uses) = (transaction.open_table(SLOTS)?, transaction.open_table(USES)?);
            let mut sketch = Sketch::default();
            for looked in plan {
                let mut cell = SketchCell::default();
                for slot in looked {
                    let id = slots.get(slot)?.map(|id| *id.value());
                    let worth = id.map(|id| uses.get(&id)).transpose()?;
                    let worth = worth.map(|found| found.map_or((0, 0), |value| value.value()));
                    cell.look(worth.map(|(uses, pins)| UseCount { uses, pins }));
                }
                sketch.cells.push(cell);
            }
            let blocks = transaction.open_table(BLOCKS)?;
            for item in uses.iter()? {
                let (id, count) = item?;
                let is_pinned = count.value().1 > 0;
                sketch.pinned += u64::from(is_pinned && blocks.get(id.value())?.is_some());
            }
            Ok(sketch)
        })
    }
}
