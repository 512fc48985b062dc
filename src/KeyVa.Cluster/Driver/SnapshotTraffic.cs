using KeyVa.Cluster.Transport;
using KeyVa.Engines;
using KeyVa.Io;
using KeyVa.Partitions;
using KeyVa.Raft;
using KeyVa.Replication;

namespace KeyVa.Cluster.Driver;

/// <summary>
/// Copies of partitions on their way to followers that lack what the log no longer has, and from leaders: made by the engine's checkpoint, on a
/// background thread, and moved by the transport. One to each follower and one from anywhere at a time, for each partition.
/// </summary>
/// <remarks>Thread-safety: members belong to the driver's loop, but for those of <see cref="ISnapshotReceiver"/>, which the transport calls.</remarks>
internal sealed class SnapshotTraffic(ClusterDriver driver, ITransport transport, StoreContext context, PartitionRegistry registry) : ISnapshotReceiver
{
    /// <summary>Room that is left beside a copy which arrives: opening it writes a manifest anew, of some hundred bytes a table.</summary>
    private const int RoomBytes = 1 << 20;

    private readonly HashSet<(long Partition, long Peer)> _sending = [];

    // Guarded by itself: what is arriving, or has arrived and was not looked at.
    private readonly Dictionary<long, Arrival> _arriving = [];

    private sealed record Arrival(long Peer, string Directory, byte[] Head);

    private IFileSystem Files => context.FileSystem;

    /// <summary>Whether a copy is on its way to anybody: the log is kept meanwhile.</summary>
    public bool IsSending(long partition)
    {
        foreach ((long one, _) in _sending)
        {
            if (one == partition)
            {
                return true;
            }
        }

        return false;
    }

    /// <summary>Begins to make and send a copy; the group is told how it ended.</summary>
    public void Send(Replica replica, in Message message)
    {
        (long partition, long to, long term, SnapshotMetadata asked) = (replica.Partition, message.To, message.Term, message.Snapshot!);
        if (!_sending.Add((partition, to)))
        {
            // One that an earlier leadership of this node began: its end is told to the group, as this one's would be.
            return;
        }

        if (!registry.Map.TryFind(partition, out Partition? pinned) || !pinned.TryPin())
        {
            Tell(replica, to, asked, arrived: false);
            return;
        }

        pinned.Engine.BeginFlush();
        string directory = PartitionFolders.Outgoing(context.Directory, partition, to);
        context.Background.Schedule(new CheckpointJob(Files, pinned, directory, (result, damage) => driver.Post(partition, (one, _) => Made(one, to, term, asked, directory, result, damage))));
    }

    string? ISnapshotReceiver.Begin(ulong peer, ReadOnlySpan<byte> head)
    {
        if (driver.IsStopping || !SnapshotMeta.TryDecode(head, driver.Options.Cluster, out long partition, out _, out _) || !driver.Replicas.ContainsKey(partition))
        {
            return null;
        }

        lock (_arriving)
        {
            string directory = PartitionFolders.Incoming(context.Directory, partition);
            if (!_arriving.TryAdd(partition, new Arrival((long)peer, directory, head.ToArray())))
            {
                return null;
            }

            try
            {
                Delete(directory);
                Files.CreateDirectory(directory);
                return directory;
            }
            catch (StorageException)
            {
                // Without room there is no copy; the leader tries again.
                _arriving.Remove(partition);
                return null;
            }
        }
    }

    bool ISnapshotReceiver.End(ulong peer, string directory, bool complete)
    {
        lock (_arriving)
        {
            foreach ((long partition, Arrival arrival) in _arriving)
            {
                if (arrival.Directory != directory || arrival.Peer != (long)peer)
                {
                    continue;
                }

                if (complete && HasRoomToOpen(directory))
                {
                    driver.Post(partition, (replica, now) => Arrived(replica, arrival, now));
                    return true;
                }

                _arriving.Remove(partition);
                TryDelete(directory);
                return false;
            }
        }

        return false;
    }

    /// <summary>Makes the files that have arrived the partition's, and gives the writer of what they hold.</summary>
    public ReplicatedWriter Install(long partition, string directory, byte[] head)
    {
        SnapshotMeta.Install(Files, context.Directory, partition, directory, head, isSynced: !driver.Options.Has(DriverDefects.InstallsUnsynced));
        return registry.Replace(partition, driver);
    }

    private void Made(Replica replica, long to, long term, SnapshotMetadata asked, string directory, CheckpointResult? result, CorruptionException? damage)
    {
        if (damage is not null)
        {
            replica.Stop(damage);
        }

        // Files that hold nothing yet are the state that every group begins with. Who joins may be needed for the first entry to be committed.
        long index = Math.Max(result?.Index ?? 0, SnapshotMetadata.InitialIndex);

        // The log goes on behind it, or it is of no use to whoever gets it.
        if (result is null || replica.Failure is not null || index < replica.Log.FirstIndex - 1 || index > replica.Group.AppliedIndex || driver.IsStopping)
        {
            Sent(replica, to, asked, directory, arrived: false);
            return;
        }

        SnapshotMetadata snapshot = new(index, replica.Log.TermAt(index), replica.Group.MembershipAt(index));
        byte[] head = SnapshotMeta.Encode(driver.Options.Cluster, replica.Partition, term, snapshot);
        try
        {
            SnapshotFile[] files = [.. Files.List(directory).Select(name => new SnapshotFile(name, Path.Combine(directory, name)))];
            transport.Snapshots.Send((ulong)to, head, files, arrived => driver.Post(replica.Partition, (one, _) => Sent(one, to, snapshot, directory, arrived)));
        }
        catch (StorageException)
        {
            // A copy that cannot be read is none. What is wrong with the disk shows elsewhere, and another copy may be made.
            Sent(replica, to, asked, directory, arrived: false);
        }
    }

    private void Sent(Replica replica, long to, SnapshotMetadata snapshot, string directory, bool arrived)
    {
        TryDelete(directory);
        Tell(replica, to, snapshot, arrived);
    }

    /// <summary>What failed is not tried again at once.</summary>
    private void Tell(Replica replica, long to, SnapshotMetadata snapshot, bool arrived) => driver.After(arrived ? 0 : driver.Options.ElectionTimeout, replica, one =>
    {
        _sending.Remove((one.Partition, to));
        one.Group.SnapshotSent(to, snapshot, arrived);
    });

    private void Arrived(Replica replica, Arrival arrival, long now)
    {
        if (driver.IsStopping)
        {
            // The store is closed, or about to be; the next start deletes what has arrived.
            return;
        }

        bool isTaken = SnapshotMeta.TryDecode(arrival.Head, driver.Options.Cluster, out _, out long term, out SnapshotMetadata snapshot)
            && replica.TakeSnapshot(arrival.Peer, term, snapshot, arrival.Directory, arrival.Head, now);
        if (!isTaken)
        {
            TryDelete(arrival.Directory);
        }

        lock (_arriving)
        {
            _arriving.Remove(replica.Partition);
        }
    }

    /// <summary>
    /// Whether there is room to open what has arrived. Without, it is as one that did not arrive, and the leader tries again: once files have taken the place of the partition's they
    /// must be opened, or the replica takes no part any more.
    /// </summary>
    private bool HasRoomToOpen(string directory)
    {
        string path = Path.Combine(directory, "room");
        try
        {
            using (StorageFile file = Files.Create(path))
            {
                file.Write(0, new byte[RoomBytes]);
                file.Sync();
            }

            Files.DeleteFile(path);
            return true;
        }
        catch (StorageException)
        {
            return false;
        }
    }

    private void Delete(string directory)
    {
        if (Files.DirectoryExists(directory))
        {
            Files.DeleteDirectory(directory);
        }
    }

    private void TryDelete(string directory)
    {
        try
        {
            Delete(directory);
        }
        catch (StorageException)
        {
            // The next start deletes it.
        }
    }

    /// <summary>Makes the copy, of files that are sound: damage must not travel from one node to the others.</summary>
    private sealed class CheckpointJob(IFileSystem files, Partition partition, string directory, Action<CheckpointResult?, CorruptionException?> done) : BackgroundJob(JobPriority.Checkpoint)
    {
        public override void Run()
        {
            CheckpointResult? result = null;
            CorruptionException? damage = null;
            try
            {
                if (partition.Engine.Verify(CancellationToken.None) is [{ } first, ..])
                {
                    damage = first;
                    return;
                }

                if (files.DirectoryExists(directory))
                {
                    files.DeleteDirectory(directory);
                }

                files.CreateDirectory(directory);
                result = partition.Engine.Checkpoint(directory, null, CancellationToken.None);
            }
            catch (StoreException)
            {
                // No copy this time: a full disk, or an engine that has failed, which its replica sees.
            }
            finally
            {
                partition.Unpin();
                done(result, damage);
            }
        }
    }
}
