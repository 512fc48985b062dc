using System.Buffers;
using System.Text;
using Microsoft.Extensions.Caching.Distributed;

namespace KeyVa.Hosting;

/// <summary>
/// <see cref="IDistributedCache"/> on a store: absolute and sliding expiry, each exact to the millisecond. Thread-safe. The synchronous
/// members block their thread while the store waits for its disk or its server; the others do not.
/// </summary>
/// <remarks>
/// A use of an entry with sliding expiry writes it again, under the condition that nobody has written it since: a use never brings back what
/// was replaced or removed meanwhile.
/// </remarks>
internal sealed class KeyVaDistributedCache(IStore store, KeyVaCacheOptions options, TimeProvider clock) : IBufferDistributedCache
{
    /// <inheritdoc/>
    public byte[]? Get(string key) => Block(GetAsync(key));

    /// <inheritdoc/>
    public async Task<byte[]?> GetAsync(string key, CancellationToken token = default) =>
        await UseAsync(key, token).ConfigureAwait(false) is { } value ? value.ToArray() : null;

    /// <inheritdoc/>
    public bool TryGet(string key, IBufferWriter<byte> destination) => Block(TryGetAsync(key, destination).AsTask());

    /// <inheritdoc/>
    public async ValueTask<bool> TryGetAsync(string key, IBufferWriter<byte> destination, CancellationToken token = default)
    {
        ArgumentNullException.ThrowIfNull(destination);
        if (await UseAsync(key, token).ConfigureAwait(false) is not { } value)
        {
            return false;
        }

        destination.Write(value.Span);
        return true;
    }

    /// <inheritdoc/>
    public void Set(string key, byte[] value, DistributedCacheEntryOptions options) => Block(SetAsync(key, value, options));

    /// <inheritdoc/>
    public Task SetAsync(string key, byte[] value, DistributedCacheEntryOptions options, CancellationToken token = default)
    {
        ArgumentNullException.ThrowIfNull(value);
        return SetAsync(key, new ReadOnlySequence<byte>(value), options, token).AsTask();
    }

    /// <inheritdoc/>
    public void Set(string key, ReadOnlySequence<byte> value, DistributedCacheEntryOptions options) => Block(SetAsync(key, value, options).AsTask());

    /// <inheritdoc/>
    public async ValueTask SetAsync(string key, ReadOnlySequence<byte> value, DistributedCacheEntryOptions options, CancellationToken token = default)
    {
        ArgumentNullException.ThrowIfNull(options);
        long now = Now();
        CacheEntry entry = EntryOf(options, now);
        WriteResult result = await store.UpsertAsync(
            KeyOf(key), entry.Encode(value), new WriteOptions { Expiry = entry.ExpiryAt(now) }, token).ConfigureAwait(false);
        if (!result.IsOk)
        {
            throw new RefusedException(result.Status, result.Detail ?? $"the cache could not write '{key}': {result.Status}");
        }
    }

    /// <inheritdoc/>
    public void Refresh(string key) => Block(RefreshAsync(key));

    /// <inheritdoc/>
    public Task RefreshAsync(string key, CancellationToken token = default) => UseAsync(key, token).AsTask();

    /// <inheritdoc/>
    public void Remove(string key) => Block(RemoveAsync(key));

    /// <inheritdoc/>
    public async Task RemoveAsync(string key, CancellationToken token = default)
    {
        WriteResult result = await store.RemoveAsync(KeyOf(key), default, token).ConfigureAwait(false);
        if (result.Status is not (Status.Ok or Status.NotFound))
        {
            throw new RefusedException(result.Status, result.Detail ?? $"the cache could not remove '{key}': {result.Status}");
        }
    }

    private async ValueTask<ReadOnlyMemory<byte>?> UseAsync(string key, CancellationToken token)
    {
        byte[] bytes = KeyOf(key);
        ReadResult read = await store.GetAsync(bytes, token).ConfigureAwait(false);
        if (read.Status is not (Status.Ok or Status.NotFound))
        {
            throw new RefusedException(read.Status, read.Detail ?? $"the cache could not read '{key}': {read.Status}");
        }

        if (read.Status == Status.NotFound || !CacheEntry.TryDecode(read.Record.Value, out CacheEntry entry, out ReadOnlyMemory<byte> value))
        {
            return null;
        }

        if (entry.SlidingMilliseconds > 0)
        {
            WriteOptions again = new() { Expiry = entry.ExpiryAt(Now()), Condition = Condition.IfVersion(read.Record.Version) };
            WriteResult result = await store.UpsertAsync(bytes, read.Record.Value, again, token).ConfigureAwait(false);
            if (result.Status is not (Status.Ok or Status.ConditionFailed))
            {
                throw new RefusedException(result.Status, result.Detail ?? $"the cache could not renew '{key}': {result.Status}");
            }
        }

        return value;
    }

    private static CacheEntry EntryOf(DistributedCacheEntryOptions options, long now)
    {
        long absolute = 0;
        if (options.AbsoluteExpirationRelativeToNow is { } after)
        {
            absolute = now + Math.Max(1, (long)after.TotalMilliseconds);
        }
        else if (options.AbsoluteExpiration is { } moment)
        {
            absolute = moment.ToUnixTimeMilliseconds();
            ArgumentOutOfRangeException.ThrowIfLessThanOrEqual(absolute, now, nameof(options));
        }

        return new CacheEntry(absolute, options.SlidingExpiration is { } sliding ? Math.Max(1, (long)sliding.TotalMilliseconds) : 0);
    }

    private byte[] KeyOf(string key)
    {
        ArgumentNullException.ThrowIfNull(key);
        byte[] bytes = Encoding.UTF8.GetBytes(options.Prefix + key);
        return bytes.Length is > 0 and <= Limits.MaxKeyBytes
            ? bytes
            : throw new ArgumentException($"a key of the cache has, with its prefix '{options.Prefix}', 1 to {Limits.MaxKeyBytes} bytes; this one has {bytes.Length}", nameof(key));
    }

    private long Now() => clock.GetUtcNow().ToUnixTimeMilliseconds();

    private static T Block<T>(Task<T> task) => task.GetAwaiter().GetResult();

    private static void Block(Task task) => task.GetAwaiter().GetResult();
}
