using KeyVa.Partitions;

namespace KeyVa;

/// <summary>A scrub that was asked for: all files of a store, or of one partition, are being read. Thread-safe.</summary>
public sealed class StoreScrub
{
    /// <summary>Damaged places that are named; more are only counted.</summary>
    internal const int MaxDamages = Scrubber.MaxDamages;

    private readonly TaskCompletionSource<ScrubResult> _completion = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly Lock _gate = new();
    private readonly List<CorruptionException> _damages = [];
    private long _damageCount;
    private long _bytesRead;

    internal StoreScrub(long bytesTotal, CancellationToken cancellation)
    {
        BytesTotal = bytesTotal;
        cancellation.UnsafeRegister(static (scrub, token) => ((StoreScrub)scrub!)._completion.TrySetCanceled(token), this);
    }

    /// <summary>Bytes read so far.</summary>
    public long BytesRead => Volatile.Read(ref _bytesRead);

    /// <summary>Bytes of all files when it began; room that the journal has taken and not used is not read.</summary>
    public long BytesTotal { get; }

    /// <summary>Ends when everything was read; fails with a <see cref="StoreException"/>, or as cancelled.</summary>
    public Task<ScrubResult> Completion => _completion.Task;

    internal void Report(long read) => Interlocked.Add(ref _bytesRead, read);

    internal void Note(CorruptionException damage)
    {
        lock (_gate)
        {
            if (_damages.Exists(known => known.File == damage.File && known.Offset == damage.Offset))
            {
                return;
            }

            _damageCount++;
            if (_damages.Count < MaxDamages)
            {
                _damages.Add(damage);
            }
        }
    }

    internal void Complete(Status status, string? detail)
    {
        lock (_gate)
        {
            _completion.TrySetResult(new ScrubResult(status, BytesRead, _damageCount, [.. _damages], detail));
        }
    }

    internal void Fail(StoreException failure) => _completion.TrySetException(failure);
}

/// <summary>How a scrub that was asked for ended.</summary>
/// <param name="Status">Ok, whether damage was found or not; NotFound if there is no such partition; Busy if too many are under way.</param>
/// <param name="BytesRead">Bytes read.</param>
/// <param name="DamageCount">Damaged places.</param>
/// <param name="Damages">The first 100 of them.</param>
/// <param name="Detail">For a person: why not; null when done.</param>
public readonly record struct ScrubResult(
    Status Status, long BytesRead, long DamageCount, IReadOnlyList<CorruptionException> Damages, string? Detail);
