using System.Diagnostics;

namespace KeyVa.Engines.Lsm;

/// <summary>
/// One merge under way. Its keys are cut into ranges; the thread that leads it, and others that come to help, take one
/// range after the other. What they write is put into effect together, or not at all.
/// </summary>
/// <remarks>
/// <para>Thread-safe. The leader takes ranges like its helpers and waits only for ranges that a helper is writing at that
/// moment, so it needs none: with no thread free it does everything itself.</para>
/// <para>Invariants.
/// 1. All versions of a key are in one range: bounds are keys. So each range decides alone what may be dropped.
/// 2. After <see cref="Close"/> no helper touches anything of it.
/// 3. Memory: for each thread a piece of every run and a block of output.
/// </para>
/// </remarks>
internal sealed class CompactionRun : IDisposable
{
    /// <summary>Bytes of entries between two looks at the rate and whether to stop.</summary>
    private const int BytesBetweenChecks = 64 << 10;

    /// <summary>More ranges than threads, so that a helper that comes late finds some; but none smaller than about two tables.</summary>
    private const int RangesPerThread = 4;
    private const int TablesPerRange = 2;

    // Immutable.
    private readonly EngineContext _context;
    private readonly VersionSet _versions;
    private readonly Compaction _compaction;
    private readonly Superversion _superversion;
    private readonly Horizon _horizon;
    private readonly Func<bool> _isStopping;
    private readonly byte[][] _bounds;
    private readonly RangeTombstones? _ranges;
    private readonly RangeTombstones? _keptRanges;
    private readonly TableOutput?[] _outputs;
    private readonly object _gate = new();

    // Guarded by the gate.
    private int _next;
    private int _active;
    private bool _closed;
    private StoreException? _failure;

    // Shared: added to by every thread.
    private long _entriesPassed;

    public CompactionRun(
        EngineContext context, VersionSet versions, Compaction compaction, Superversion superversion, Horizon horizon, Func<bool> isStopping)
    {
        _context = context;
        _versions = versions;
        _compaction = compaction;
        _superversion = superversion;
        _horizon = horizon;
        _isStopping = isStopping;
        _bounds = Bounds();
        _ranges = MergedRanges();
        _keptRanges = _ranges is null || Retained > 0 ? _ranges : RangeTombstoneMerge.DropCoveringNothing(_ranges, horizon.Version, Deeper.SelectMany(level => level.Tables));
        _outputs = new TableOutput?[_bounds.Length + 1];
    }

    public int Ranges => _outputs.Length;

    /// <summary>How many versions of each key stay, whatever the horizon.</summary>
    private int Retained => _context.Snapshots.Retention.Count;

    /// <summary>What the output lies over.</summary>
    private Level[] Deeper => _superversion.Deeper[(_compaction.OutputLevel + 1)..];

    /// <summary>What was written, by key; complete after <see cref="Finish"/> said so.</summary>
    public IReadOnlyList<SsTable> Tables => [.. _outputs.SelectMany(output => output!.Tables)];

    /// <summary>The value files that were written; complete as the tables are.</summary>
    public IReadOnlyList<ManifestValueFile> ValueFiles => [.. _outputs.SelectMany(output => output!.ValueFiles)];

    /// <summary>Takes ranges as long as there are some. Any thread.</summary>
    public void Work()
    {
        while (TryTake(out int range))
        {
            StoreException? failure = null;
            try
            {
                Write(range);
            }
            catch (StoreException thrown)
            {
                failure = thrown;
            }
            finally
            {
                lock (_gate)
                {
                    _active--;
                    _failure ??= failure;
                    Monitor.PulseAll(_gate);
                }
            }
        }
    }

    /// <summary>The leader's: no range is taken any more; waits for those that helpers are writing.</summary>
    public void Close()
    {
        lock (_gate)
        {
            _closed = true;
            while (_active > 0)
            {
                Monitor.Wait(_gate);
            }
        }
    }

    /// <summary>After <see cref="Close"/>: whether everything is written; false if it was stopped. Throws what went wrong.</summary>
    public bool Finish()
    {
        lock (_gate)
        {
            Debug.Assert(_closed, "helpers have left");
            if (_failure is not null)
            {
                throw _failure;
            }

            if (_next < Ranges || _isStopping())
            {
                return false;
            }
        }

        CheckNothingIsMissing();
        return true;
    }

    /// <summary>The manifest has the tables now.</summary>
    public void Keep()
    {
        foreach (TableOutput? output in _outputs)
        {
            output!.Keep();
        }
    }

    /// <summary>Deletes what was written, unless it is kept.</summary>
    public void Dispose()
    {
        Close();
        foreach (TableOutput? output in _outputs)
        {
            output?.Dispose();
        }
    }

    /// <summary>
    /// Of a table that is out of order, which checksums do not show, entries may lie in no range: what was written must not
    /// take the place of such a table.
    /// </summary>
    private void CheckNothingIsMissing()
    {
        long expected = _compaction.Inputs.Sum(table => table.Properties.Entries);
        if (_entriesPassed == expected)
        {
            return;
        }

        List<CorruptionException> damages = [];
        foreach (SsTable table in _compaction.Inputs)
        {
            TableVerifier.VerifyTable(_context, table, damages, CancellationToken.None);
        }

        throw damages.Count > 0
            ? damages[0]
            : new CorruptionException(_compaction.Inputs.First().Path, 0, $"{_entriesPassed} entries were found in the tables of a compaction, the manifest says {expected}");
    }

    private byte[][] Bounds()
    {
        EngineOptions options = _context.Options;
        long ranges = Math.Min(_compaction.Bytes / (TablesPerRange * options.TableBytes), RangesPerThread * (long)options.MaxSubCompactions);
        if (options.MaxSubCompactions <= 1 || ranges <= 1)
        {
            return [];
        }

        // A zero byte more: what ends there ends with the key before it, so that tables with range tombstones that are cut
        // there do not touch those of the next range (see TableOutput.EndTable).
        return [.. KeyBounds.Split(_compaction, (int)ranges).Select(key => (byte[])[.. key, 0])];
    }

    private bool TryTake(out int range)
    {
        lock (_gate)
        {
            range = _next;
            if (_closed || _failure is not null || _next == Ranges || _isStopping())
            {
                return false;
            }

            _next++;
            _active++;
            return true;
        }
    }

    private void Write(int range)
    {
        long versionBase = _compaction.Inputs.Min(table => table.Properties.VersionBase);
        long stampBase = _compaction.Inputs.Min(table => table.Properties.StampBase);
        byte[] from = range == 0 ? [] : _bounds[range - 1];
        byte[] to = range == _bounds.Length ? [] : _bounds[range];
        TableOutput output = new(_context, _versions, versionBase, stampBase, new KeysBelow(_superversion, _compaction.OutputLevel + 1))
        {
            Compression = _context.Options.CompressionOf(_compaction.OutputLevel, _superversion.DeepestLevel),
            Ranges = _keptRanges is null ? null : RangeTombstoneMerge.Clip(_keptRanges, from, to),
            Moved = _compaction.MovedValues,
            OldValues = _superversion.Values,
        };
        _outputs[range] = output;
        using EntryFilter filter = new(_horizon, new DeeperKeys(Deeper), _ranges, Retained);
        using MergeHeap heap = new(Sources(from, to));
        Seek(heap, from);
        if (Write(heap, to, filter, output))
        {
            output.Complete();
        }
    }

    private RangeTombstones? MergedRanges()
    {
        RangeTombstones[] inputs = [.. _compaction.Inputs.Where(table => table.HasRanges).Select(table => table.Ranges!)];
        return inputs.Length == 0 ? null : RangeTombstoneMerge.Merge(inputs, _horizon.Version, Retained);
    }

    private static unsafe void Seek(MergeHeap heap, byte[] from)
    {
        if (from.Length == 0)
        {
            heap.SeekFirst();
            return;
        }

        fixed (byte* key = from)
        {
            heap.SeekAtOrBehind(key, from.Length, KeyOrder.BeforeAll);
        }
    }

    /// <summary>False if it was stopped.</summary>
    private unsafe bool Write(MergeHeap heap, byte[] to, EntryFilter filter, TableOutput output)
    {
        ulong toHead;
        fixed (byte* key = to)
        {
            toHead = KeyOrder.Head(key, to.Length);
        }

        long tableBytes = _context.Options.TableBytes;
        int passed = 0;
        int kept = 0;
        long entries = 0;
        while (heap.Top is MergeSource entry)
        {
            if (to.Length > 0 && entry.Head >= toHead && KeyOrder.Compare(entry.KeySpan, to) >= 0)
            {
                break;
            }

            int bytes = entry.KeyLength + entry.ValueLength;
            passed += bytes;
            entries++;
            EntryFate fate = filter.Decide(entry);
            if (fate != EntryFate.Drop)
            {
                // All versions of a key stay in one table, so that the tables of a level do not overlap.
                if (filter.IsNewKey && output.OpenBytes >= tableBytes)
                {
                    output.EndTable();
                }

                int moved = output.Add(entry, bury: fate == EntryFate.Bury);
                passed += moved;
                kept += bytes + moved;
            }

            if (passed >= BytesBetweenChecks)
            {
                passed = 0;
                if (!GoOn(ref kept))
                {
                    return false;
                }
            }

            heap.Next();
        }

        Interlocked.Add(ref _entriesPassed, entries);
        return !_isStopping();
    }

    private bool GoOn(ref int kept)
    {
        if (kept > 0)
        {
            _context.CompactionRate?.Take(kept, _isStopping);
            kept = 0;
        }

        return !_isStopping();
    }

    private MergeSource[] Sources(byte[] from, byte[] to)
    {
        List<MergeSource> sources = [];
        foreach (InputRun run in _compaction.Runs)
        {
            SsTable[] tables = [.. run.Tables.Where(table => table.Properties.Entries > 0 &&
                KeyOrder.Compare(table.Largest, from) >= 0 && (to.Length == 0 || KeyOrder.Compare(table.Smallest, to) < 0))];
            if (run.Level == 0)
            {
                sources.AddRange(tables.Select(table => new TableSource([table], streaming: true)));
            }
            else if (tables.Length > 0)
            {
                sources.Add(new TableSource(tables, streaming: true));
            }
        }

        return [.. sources];
    }
}
