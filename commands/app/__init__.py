"""The app: a Streamlit page over the registered models."""
