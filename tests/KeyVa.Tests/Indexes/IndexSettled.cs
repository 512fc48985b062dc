using KeyVa.Indexes;

namespace KeyVa.Tests.Indexes;

/// <summary>Waits for what a store does with its indexes behind its callers.</summary>
internal static class IndexSettled
{
    /// <summary>No index is being taken away any more.</summary>
    public static async Task Dropped(Store store)
    {
        while ((await store.Indexes.ListAsync()).Any(static index => index.State == IndexState.Dropping))
        {
            await Task.Yield();
        }
    }
}
