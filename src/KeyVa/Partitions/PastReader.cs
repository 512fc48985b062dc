using System.Diagnostics;
using System.Globalization;
using KeyVa.Engines;
using KeyVa.Log;

namespace KeyVa.Partitions;

/// <summary>
/// Reads what was: a key at a version or time, a key's versions, snapshots of the past; and rolls back to it. Thread-safe.
/// </summary>
/// <remarks>
/// Each call pins the version it reads (<see cref="SnapshotList.TryOpenAt"/>) or is refused, so that nothing goes while it reads. Expiry
/// is judged as of the time that was asked for; as of a version it is not judged: the record says when it expires.
/// </remarks>
internal sealed class PastReader(PartitionRegistry registry, StoreContext context, Journal journal)
{
    /// <summary>The key as it was.</summary>
    public ValueTask<ReadResult> GetAtAsync(ReadOnlyMemory<byte> key, AsOf at) => GetAtAsync(key, at, newest: 0);

    /// <summary>As above; for a time, as if what is newer than a version were not there (0: all counts).</summary>
    private async ValueTask<ReadResult> GetAtAsync(ReadOnlyMemory<byte> key, AsOf at, long newest)
    {
        if (Refusals.CheckKey(key.Length, Status.Ok) is not Status.Ok and Status refusal)
        {
            return new ReadResult { Status = refusal, Detail = Refusals.DescribeKey(key.Length) };
        }

        if (registry.Map.Find(key.Span) is not { } partition || !partition.TryPin())
        {
            return new ReadResult { Status = Status.BadNode, Detail = Refusals.BadNodeDetail };
        }

        try
        {
            if (!TryResolve(context, at, out long version, out Status status, out string? detail))
            {
                return new ReadResult { Status = status, Detail = detail };
            }

            await partition.Writer.WaitUntilClosed(Math.Max(version, newest)).ConfigureAwait(false);
            return Read(partition, key, at, version, newest == 0 ? long.MaxValue : newest);
        }
        finally
        {
            partition.Unpin();
        }
    }

    /// <summary>Keys as they were; one after the other, since what was at a version does not change.</summary>
    public async ValueTask<MultiReadResult> GetAtAsync(IReadOnlyList<ReadOnlyMemory<byte>> keys, AsOf at)
    {
        if (keys.Count > Limits.MaxBatchOperations)
        {
            return new MultiReadResult { Status = Status.TooLarge, Records = [], Detail = $"a request for {keys.Count} keys exceeds the limit of {Limits.MaxBatchOperations}" };
        }

        // What was at a time may still change when the time is over: by a write that has its stamp and is not visible yet. So all keys are read as of
        // one version, which is closed in their partitions before: what is above it counts for none of them.
        long newest = at.IsTime ? context.Oracle.LastVersion : 0;
        var records = new Record?[keys.Count];
        for (int i = 0; i < records.Length; i++)
        {
            ReadResult read = await GetAtAsync(keys[i], at, newest).ConfigureAwait(false);
            if (read.Status > Status.NotFound)
            {
                return new MultiReadResult { Status = read.Status, Records = [], Detail = read.Detail, BeginsAtVersion = read.BeginsAtVersion };
            }

            records[i] = read.Found ? read.Record : null;
        }

        return new MultiReadResult { Records = records };
    }

    /// <summary>The versions of a key.</summary>
    public ValueTask<HistoryResult> HistoryAsync(ReadOnlyMemory<byte> key, HistoryOptions options)
    {
        if (Refusals.CheckKey(key.Length, Status.Ok) is not Status.Ok and Status refusal)
        {
            return ValueTask.FromResult(new HistoryResult { Status = refusal, Versions = [], Detail = Refusals.DescribeKey(key.Length) });
        }

        if (options.Limit is < 1 or > HistoryOptions.MaxLimit || options.From < 0 || options.To < 0)
        {
            return ValueTask.FromResult(new HistoryResult { Status = Status.Invalid, Versions = [], Detail = $"the limit must be 1 to {HistoryOptions.MaxLimit}, and versions are not negative" });
        }

        if (registry.Map.Find(key.Span) is not { } partition || !partition.TryPin())
        {
            return ValueTask.FromResult(new HistoryResult { Status = Status.BadNode, Versions = [], Detail = Refusals.BadNodeDetail });
        }

        try
        {
            Engine engine = partition.Engine;
            using Snapshot pin = context.Snapshots.PinAll(engine.Context.History);
            long newest = Math.Max(engine.VisibleVersion, pin.Version);
            using VersionWalk walk = engine.WalkVersions(key.Span, options.To == 0 ? newest : Math.Min(options.To, newest), pin.Version);
            return ValueTask.FromResult(HistoryList.Collect(walk, engine.Context.History, pin.Version, options));
        }
        finally
        {
            partition.Unpin();
        }
    }

    /// <summary>
    /// Opens a snapshot of the past for partitions that are pinned; false with the reason if it cannot be had. It may be read
    /// once each partition has closed its version.
    /// </summary>
    public static bool TryOpen(StoreContext context, ReadOnlySpan<Partition> partitions, AsOf at, Snapshot snapshot, out Status status, out string? detail, out long begins)
    {
        begins = 0;
        if (!TryResolve(context, at, out long version, out status, out detail))
        {
            return false;
        }

        if (context.Snapshots.TryOpenAt(version, context.Oracle, partitions, out begins, snapshot) is null)
        {
            status = Status.Compacted;
            detail = Describe(version, begins);
            return false;
        }

        return true;
    }

    /// <summary>Brings the keys of a range back to what they were. A single key's time is exact.</summary>
    public async Task<RollBackResult> RollBackAsync(KeyRange range, AsOf at, ReadOnlyMemory<byte> singleKey)
    {
        if (context.Replication is not null)
        {
            return new RollBackResult { Status = Status.Unsupported, Detail = Refusals.NotReplicated("a roll back").Detail };
        }

        if (range.IsEmpty)
        {
            return new RollBackResult { Status = Status.Invalid, Detail = "the range is empty: it ends where or before it begins" };
        }

        if (range.From.Length > Limits.MaxKeyBytes || range.To.Length > Limits.MaxKeyBytes + (singleKey.IsEmpty ? 0 : 1))
        {
            return new RollBackResult { Status = Status.TooLarge, Detail = Refusals.DescribeKey(Math.Max(range.From.Length, range.To.Length)) };
        }

        if (!at.IsSet)
        {
            return new RollBackResult { Status = Status.Invalid, Detail = "say which version or time to roll back to" };
        }

        PartitionMap map = registry.Map;
        Partition[] partitions = [.. map.Cover(range.From.Span, range.To.Span, out bool complete)];
        bool isEverything = range.From.IsEmpty && range.To.IsEmpty;
        if (partitions.Length == 0 || (!complete && !isEverything))
        {
            return new RollBackResult { Status = Status.BadNode, Detail = Refusals.BadNodeDetail };
        }

        // A checkpoint of the memory engine without retention has no history: a replay over it could not repeat the command.
        if (!context.Snapshots.Retention.IsOn && Array.Exists(partitions, partition => partition.Definition is { Engine: EngineKind.Memory, IsVolatile: false }))
        {
            return new RollBackResult { Status = Status.Compacted, Detail = "versions are not retained, and the memory engine's checkpoints have none; open the store with retain-versions-for to roll its partitions back" };
        }

        Snapshot snapshot = new();
        if (!TryOpen(context, partitions, at, snapshot, out Status status, out string? detail, out long begins))
        {
            return new RollBackResult { Status = status, Detail = detail, BeginsAtVersion = begins };
        }

        RollBackPin? pin;
        long target = snapshot.Version;
        try
        {
            foreach (Partition partition in partitions)
            {
                await partition.Writer.WaitUntilClosed(target).ConfigureAwait(false);
            }

            if (at.IsTime && !singleKey.IsEmpty)
            {
                target = ExactVersion(partitions[0], singleKey, at.UnixMilliseconds, target);
            }

            pin = context.History.Pin(snapshot, [.. partitions.Select(partition => partition.Id)]);
        }
        catch (StoreException failure)
        {
            snapshot.Dispose();
            return new RollBackResult { Status = failure is StorageFullException ? Status.Full : Status.Failed, Detail = failure.Message };
        }

        return pin is null
            ? new RollBackResult { Status = Status.Busy, Detail = $"{VersionHistory.MaxPins} partitions wait for earlier roll backs to reach their files; try again in a moment" }
            : await CommitAsync(range, target, map, partitions, pin).ConfigureAwait(false);
    }

    private async Task<RollBackResult> CommitAsync(KeyRange range, long target, PartitionMap map, Partition[] partitions, RollBackPin pin)
    {
        using CommandBuilder command = new();
        command.RollBack(range.From.Span, range.To.Span, target);
        RollBackTally tally = command.Tally!;
        WriteResult result = default;
        try
        {
            result = await CrossPartitionCommit.Run(command, map, journal, context).ConfigureAwait(false);
        }
        finally
        {
            // What failed half-way is in the journal, and will be replayed: then the pin stays, for the next process too.
            bool mayBeLogged = result.Status == Status.Failed;
            context.History.Applied(pin, [.. partitions.Select(partition => mayBeLogged ? long.MaxValue : result.IsOk ? partition.Engine.AppliedIndex : 0)]);
        }

        return result.IsOk
            ? new RollBackResult { Status = Status.Ok, Version = result.Version, ToVersion = target, KeysChanged = tally.Changed }
            : new RollBackResult { Status = result.Status, Detail = result.Detail };
    }

    /// <summary>The version that a moment leads to: for a time, the newest of then, as far as the clock knows.</summary>
    private static bool TryResolve(StoreContext context, AsOf at, out long version, out Status status, out string? detail)
    {
        status = Status.Ok;
        detail = null;
        long newest = context.Oracle.LastVersion;
        version = at.IsSet ? at.Version : newest;
        if (at.IsTime)
        {
            if (at.UnixMilliseconds >= context.Oracle.Now())
            {
                version = context.Oracle.LastVersion;
            }
            else if (!context.History.Clock.TryFind(at.UnixMilliseconds, out version))
            {
                status = Status.Compacted;
                long first = context.History.Clock.First;
                detail = first == 0
                    ? "versions are not retained, so a time leads to none; open the store with retain-versions-for, or name a version"
                    : string.Create(CultureInfo.InvariantCulture, $"the first time that leads to a version is {first} ({DateTimeOffset.FromUnixTimeMilliseconds(first):u}), and what was asked for is before it; start there, or name a version");
            }
        }
        else if (version > newest)
        {
            status = Status.Invalid;
            detail = string.Create(CultureInfo.InvariantCulture, $"there is no version {version} yet; the newest is {newest}");
        }

        return status == Status.Ok;
    }

    private ReadResult Read(Partition partition, ReadOnlyMemory<byte> key, AsOf at, long version, long newest)
    {
        Engine engine = partition.Engine;
        using Snapshot snapshot = new();
        if (context.Snapshots.TryOpenAt(version, engine, [partition], out long begins, snapshot) is null)
        {
            return ReadCounted(engine, key, at, version, newest, begins);
        }

        if (at.IsTime)
        {
            using VersionWalk walk = engine.WalkVersions(key.Span, Math.Max(engine.VisibleVersion, version), snapshot.Version);
            return Answer(key, Seek(walk, at, version, newest) ? walk : null, at);
        }

        bool found = engine.TryGet(key.Span, version, out ValueLease lease);
        using (lease)
        {
            return !found ? new ReadResult { Status = Status.NotFound } : new ReadResult
            {
                Status = Status.Ok,
                Record = new Record
                {
                    Key = key,
                    Value = lease.Value.ToArray(),
                    Version = lease.Version,
                    ModifiedUnixMilliseconds = lease.ModifiedUnixMilliseconds,
                    ExpiresAtUnixMilliseconds = lease.ExpiresAtUnixMilliseconds,
                },
            };
        }
    }

    /// <summary>
    /// Below what the partition promises: the newest versions of each key may be there by count. The answer is certain if
    /// fewer newer ones are there than are kept: else the version asked for may be one of those that went.
    /// </summary>
    private ReadResult ReadCounted(Engine engine, ReadOnlyMemory<byte> key, AsOf at, long version, long newest, long begins)
    {
        HistoryFloor floor = engine.Context.History;
        if (floor.Count > 0 && version >= floor.CountedFrom)
        {
            using Snapshot pin = context.Snapshots.PinAll(floor);
            using VersionWalk walk = engine.WalkVersions(key.Span, Math.Max(engine.VisibleVersion, pin.Version), pin.Version);
            bool found = Seek(walk, at, version, newest);
            if ((found ? walk.Newer : walk.Passed) < floor.Count)
            {
                return Answer(key, found ? walk : null, at);
            }
        }

        return new ReadResult { Status = Status.Compacted, Detail = Describe(version, begins), BeginsAtVersion = begins };
    }

    /// <summary>Goes to the event that was the newest then.</summary>
    private static bool Seek(VersionWalk walk, AsOf at, long version, long newest = long.MaxValue)
    {
        while (walk.MoveNext())
        {
            if (at.IsTime ? walk.Stamp <= at.UnixMilliseconds && walk.Version <= newest : walk.Version <= version)
            {
                return true;
            }
        }

        return false;
    }

    private static ReadResult Answer(ReadOnlyMemory<byte> key, VersionWalk? found, AsOf at)
    {
        bool isThere = found is { IsRemoval: false } && (!at.IsTime || found.ExpiresAt == 0 || found.ExpiresAt > at.UnixMilliseconds);
        return !isThere ? new ReadResult { Status = Status.NotFound } : new ReadResult
        {
            Status = Status.Ok,
            Record = new Record
            {
                Key = key,
                Value = found!.Value.ToArray(),
                Version = found.Version,
                ModifiedUnixMilliseconds = found.Stamp,
                ExpiresAtUnixMilliseconds = found.ExpiresAt,
            },
        };
    }

    /// <summary>The version at which a key was last written by a time; the one that the clock knows if that is newer.</summary>
    private static long ExactVersion(Partition partition, ReadOnlyMemory<byte> key, long time, long known)
    {
        using VersionWalk walk = partition.Engine.WalkVersions(key.Span, Math.Max(partition.Engine.VisibleVersion, known), known);
        return Seek(walk, AsOf.AtTime(time), known) ? Math.Max(walk.Version, known) : known;
    }

    private static string Describe(long version, long begins)
    {
        Debug.Assert(version < begins, "it is refused for being below");
        return string.Create(CultureInfo.InvariantCulture, $"version {version} has been forgotten; everything is there from version {begins} on: start at {begins}");
    }
}
