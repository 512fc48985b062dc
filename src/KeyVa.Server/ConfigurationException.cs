namespace KeyVa.Server;

/// <summary>
/// The server cannot start as it is configured. The message names the setting, where it was given and what is allowed.
/// </summary>
public sealed class ConfigurationException : StoreException
{
    /// <summary>Says which setting is wrong, where it was given and what is allowed.</summary>
    public ConfigurationException(string message)
        : base(message)
    {
    }

    /// <summary>As above, with the failure below it.</summary>
    public ConfigurationException(string message, Exception inner)
        : base(message, inner)
    {
    }
}
