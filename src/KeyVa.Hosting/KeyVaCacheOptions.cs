namespace KeyVa.Hosting;

/// <summary>How <c>IDistributedCache</c> uses the store.</summary>
public sealed class KeyVaCacheOptions
{
    /// <summary>What stands before every key of the cache, so that it shares a store with other data. Default: <c>cache:</c>.</summary>
    public string Prefix { get; set; } = "cache:";
}
