"""Pictures of a trained model, such as reconstructions and mixes."""
